"""How training calls a network, and what the losses of all methods share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ddgan.training.state import TrainState, UpdateStatistics

__all__ = ["run", "spread", "variance"]


def run(state: TrainState, network: nn.Module, first: Tensor, *others: Any) -> Tensor:
    """Call a network in the state's precision; the output has the type of the input.

    A call on a leaf with a gradient, which a penalty differentiates twice or takes a difference of, runs in
    full precision and uncompiled, since torch.compile does not support second derivatives.
    """
    output: Tensor
    if first.requires_grad and first.is_leaf:
        output = network.forward(first, *others)
        return output
    if state.precision is None:
        output = network(first, *others)
        return output
    with torch.autocast(first.device.type, state.precision):
        output = network(first, *others)
    return output.to(first.dtype)


def spread(fake: Tensor, real: Tensor) -> UpdateStatistics:
    """Return the statistics `variance_fake` and `variance_real` of samples (B, ...)."""
    return {"variance_fake": variance(fake.detach()), "variance_real": variance(real)}


def variance(x: Tensor) -> Tensor:
    """Return the mean squared distance of each sample (B, ...) to the batch mean, (B,)."""
    return (x - x.mean(dim=0)).square().flatten(1).mean(dim=1)
