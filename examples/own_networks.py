"""Train your own generator and discriminator: a few convolutions each, on scanned digits.

python examples/own_networks.py --out runs/own_networks        # two minutes on a CPU
"""

import argparse

import torch
from torch import nn

import ddgan


class Convolutions(nn.Module):
    """Called as G(x_t, t, z, condition) or as D(x_prev, x_t, t, condition)."""

    def __init__(self, channels, width, out, *end):
        super().__init__()
        first, last = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, out, 3, padding=1)
        inner = [nn.Conv2d(width, width, 3, padding=1) for _ in range(2)]
        self.layers = nn.Sequential(first, nn.SiLU(), inner[0], nn.SiLU(), inner[1], nn.SiLU(), last, *end)

    def forward(self, *inputs):
        maps, size = [], inputs[0].shape[2:]
        for x in inputs[:-1]:  # t (B,) and z (B, nz) become channels; the last input, the condition, is None
            maps.append(x if x.ndim == 4 else x.reshape(len(x), -1, 1, 1).expand(-1, -1, *size))
        return self.layers(torch.cat(maps, dim=1))


@ddgan.register("generator", "convolutions")
class GeneratorSettings:
    """Predicts the image x_0; the shape (C, H, W) of a sample comes from the data."""

    width: int = 48
    latent_size: int = 16  # the length of z

    def build(self, sample_shape, conditions):
        return Convolutions(sample_shape[0] + 1 + self.latent_size, self.width, sample_shape[0], nn.Tanh())


@ddgan.register("discriminator", "convolutions")
class DiscriminatorSettings:
    """Outputs a logit (B,) per pair: the mean of a map."""

    width: int = 48

    def build(self, sample_shape, conditions):
        return Convolutions(2 * sample_shape[0] + 1, self.width, 1, nn.AdaptiveAvgPool2d(1), nn.Flatten(0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="runs/own_networks")
    parser.add_argument("--smoke", action="store_true", help="only a few iterations, as a test")
    options = parser.parse_args()
    networks = {"generator": {"kind": "convolutions"}, "method.discriminators.pair": {"kind": "convolutions"}}
    length = {"training.num_iterations": 10 if options.smoke else 1500, "training.batch_size": 64}
    others = {"data": "single_digits", "diffusion.num_steps": 4, "training.score_samples": 0}
    ddgan.train("digits_quick", out=options.out, **networks, **length, **others)
    print(f"samples are in {options.out}/samples.png")
