"""How a network is called in training: its arithmetic, and what is the same in the losses of all methods."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ddgan.training.state import TrainState

__all__ = ["run", "variance"]


def run(state: TrainState, network: nn.Module, first: Tensor, *others: Any) -> Tensor:
    """A network's output in the precision of its weights, computed in the state's precision.

    What a penalty differentiates twice is computed in full precision, and without a compiler, which
    cannot do that.
    """
    if first.requires_grad and first.is_leaf:
        return network.forward(first, *others)
    with torch.autocast(first.device.type, state.precision, enabled=state.precision is not None):
        output: Tensor = network(first, *others)
    return output if state.precision is None else output.to(first.dtype)


def variance(x: Tensor) -> Tensor:
    """The mean squared distance of each sample (B, ...) to the batch's mean, (B,)."""
    return (x - x.mean(dim=0)).square().flatten(1).mean(dim=1)
