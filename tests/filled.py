"""Networks that are not as at their start, where some layers are nearly zero and hide what is behind them."""

from __future__ import annotations

from torch import nn

from ddgan.networks.layers import variance_scaling_


def filled(network: nn.Module) -> nn.Module:
    """The network, none of whose layers is nearly zero any more."""
    for parameter in network.parameters():
        if parameter.ndim > 1 and parameter.abs().max() < 1e-3:
            variance_scaling_(parameter.data)
    return network
