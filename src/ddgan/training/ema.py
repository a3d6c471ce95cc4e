"""Exponential moving averages of the generator's weights: what is sampled from after training."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, parameter by parameter; 0 copies the model."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
