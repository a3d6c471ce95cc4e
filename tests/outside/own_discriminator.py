"""A discriminator from outside the package: a linear one over both samples."""

import math

import torch
from torch import Tensor, nn

import ddgan


@ddgan.register("discriminator", "linear")
class LinearConfig:
    """Settings of a linear discriminator.

    Args:
        bias: whether it has one.
    """

    bias: bool = True

    def build(self, sample_shape, conditions):
        return Linear(2 * math.prod(sample_shape), self.bias)


class Linear(nn.Module):
    """D(x_prev, x_t, t, condition) -> (B,) logits."""

    def __init__(self, count: int, bias: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(count, 1, bias=bias)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, condition=None) -> Tensor:
        return self.layer(torch.cat([x_prev.flatten(1), x_t.flatten(1)], dim=1)).squeeze(1)
