"""A generator from outside the package: one hidden layer."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

import ddgan
from ddgan.config.settings import Interval


@ddgan.register("generator", "one_layer")
class OneLayerConfig:
    """Settings of a generator with one hidden layer.

    Args:
        width: of the hidden layer.
        latent_size: nz.
    """

    width: Annotated[int, Interval(ge=1, le=4096)] = 32
    latent_size: Annotated[int, Interval(ge=0, le=64)] = 4

    def build(self, sample_shape, conditions):
        return OneLayer(self, sample_shape, conditions)


class OneLayer(nn.Module):
    """G(x_t, t, z, condition) -> prediction."""

    def __init__(self, config, sample_shape, conditions):
        super().__init__()
        count = math.prod(sample_shape)
        self.classes = nn.Embedding(conditions.num_classes + 1, config.width)
        self.hidden = nn.Linear(count + 1 + config.latent_size, config.width)
        self.output = nn.Linear(config.width, count)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition=None) -> Tensor:
        h = self.hidden(torch.cat([x_t.flatten(1), t[:, None].to(x_t), z], dim=1))
        if condition is not None:
            h = h + self.classes(condition.label)
        return torch.tanh(self.output(torch.relu(h))).view_as(x_t)
