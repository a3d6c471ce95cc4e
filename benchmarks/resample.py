"""Speed of FIR resampling against pad, convolve, slice: python -m benchmarks.resample [--out X.json].

Measures the forward pass, and with it the first and second derivative for R1, at sizes of the cifar10 preset.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.common import interleaved, publish, ratios, spread, the_device
from ddgan.networks import resample

CASES = ((16, 3, 32), (16, 128, 32), (16, 256, 16), (16, 256, 8), (4, 64, 128))
"""Batch size, channels, height and width."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out")
    options = parser.parse_args()
    device = the_device()
    rows, values = [], {}
    for name in ("downsample", "upsample"):
        for shape in CASES:
            x = torch.randn(shape[0], shape[1], shape[2], shape[2], device=device)
            inner = x.to(memory_format=torch.channels_last)
            ours, baseline = getattr(resample, name), getattr(plain, name)
            for kind, run in {"forward": forward, "with both derivatives": twice}.items():
                works = {"ours": run(ours, x), "channels_last": run(ours, inner), "plain": run(baseline, x)}
                times = interleaved(works, device, options.rounds)
                gains = {path: ratios(times, path, "plain") for path in ("ours", "channels_last")}
                label = f"{name} {shape}, {kind}"
                rows.append((label, "   ".join(f"{path} {spread(gain)}" for path, gain in gains.items())))
                values[label] = gains
    publish("resample, times faster than plain", rows, {"gains": values}, options.out)


def forward(operation: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """Return a call of the operation alone."""
    return lambda: operation(x)


def twice(operation: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """Return a call that computes a gradient, and the gradient of a penalty on it."""

    def run() -> None:
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(operation(leaf.square()).square().sum(), leaf, create_graph=True)
        gradient.square().sum().backward()

    return run


if __name__ == "__main__":
    main()
