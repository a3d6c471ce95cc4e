"""Speed of sampling, ours against the plain path: python -m benchmarks.sampling [--out X.json].

The network of `--preset` with random weights; both paths make the same images from the same noise. Reports
floating-point operations (2 per multiply-add), also as a fraction of this machine's rate for large matrix
products. `--scaling` measures how the cost grows with T, images and pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import (
    batch_for,
    interleaved,
    matmul_rate,
    publish,
    ratios,
    settings_of,
    spread,
    the_device,
)
from benchmarks.plain import plain_path
from ddgan import DDGAN, RunConfig
from ddgan.models.precision import DTYPES, channels_innermost, choose_precision
from ddgan.networks.layers import variance_scaling_


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cifar10")
    parser.add_argument("--batch", type=int, help="images at a time (default: 16; on a GPU 256)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.scaling:
        measure_scaling(options.rounds, options.out)
        return
    device = the_device()
    batch = batch_for(device, options.batch)
    config, shape = settings_of(options.preset)
    plain, ours = model(config, shape, device), model(config, shape, device)
    channels_innermost(ours.generator)
    ours.set_precision(choose_precision(options.precision, device))
    if options.compile:
        ours.compile()

    def sample_plain() -> Tensor:
        with plain_path():
            return plain_images(plain, batch)

    works = {"ours": lambda: images(ours, batch), "plain": sample_plain}
    error = relative_error(ours, plain, batch)
    times = interleaved(works, device, options.rounds)
    work = flops(sample_plain)
    dtype = DTYPES[ours.precision]
    rate, best = matmul_rate(device, dtype), min(times["ours"])
    gains = ratios(times, "ours", "plain")
    rows = [
        ("network, T, images at a time", f"{options.preset}, {ours.diffusion.num_steps}, {batch}"),
        ("ours computes in", ours.precision + (", compiled" if options.compile else "")),
        ("images/s, plain", spread([batch / seconds for seconds in times["plain"]])),
        ("images/s, ours", spread([batch / seconds for seconds in times["ours"]])),
        ("times faster", spread(gains)),
        ("GFLOP per image", f"{work / batch / 1e9:.2f}"),
        (f"of the matmul rate in {ours.precision}", f"{work / best / rate:.1%} of {rate / 1e9:,.0f} GFLOP/s"),
        ("relative error of one generator call", f"{error:.1e}"),
    ]
    values = {
        "batch": batch,
        "precision": ours.precision,
        "compiled": options.compile,
        "seconds": times,
        "gains": gains,
        "flops_per_image": work / batch,
        "matmul_flops_per_second": rate,
        "share_of_matmul": work / best / rate,
        "error": error,
    }
    publish("sampling", rows, values, options.out)


def model(config: RunConfig, shape: tuple[int, ...], device: torch.device) -> DDGAN:
    """Build a model with random weights; layers initialised near zero are redrawn, so that errors show."""
    torch.manual_seed(0)
    generator = config.generator.build(shape, config.conditions.shapes)
    for parameter in generator.parameters():
        if parameter.ndim > 1 and parameter.abs().max() < 1e-4:
            variance_scaling_(parameter.data)
    return DDGAN(generator.to(device), config, shape)


def images(trained: DDGAN, batch: int) -> Tensor:
    """Sample one batch with the library."""
    return next(iter(trained.batches(batch, 0, batch)))


@torch.no_grad()
def plain_images(trained: DDGAN, batch: int) -> Tensor:
    """Sample the same batch with a plain loop over the steps."""
    diffusion, condition = trained.diffusion, trained.condition_for(batch)
    x_t, noise = trained.start(0, range(batch))
    for step in range(diffusion.num_steps, 0, -1):
        t = torch.full((batch,), step, device=trained.device)
        x_0 = trained.generator(x_t, t, noise(trained.config.generator.latent_size), condition)
        x_t = diffusion.denoise(x_0, x_t, t, noise(*trained.sample_shape))
    return x_t


@torch.no_grad()
def relative_error(ours: DDGAN, plain: DDGAN, batch: int) -> float:
    """Return ||ours - plain|| / ||plain|| for the first prediction of the chain."""
    condition = plain.condition_for(batch)
    x_t, noise = plain.start(0, range(batch))
    with plain_path():
        expected = next(iter(plain.chain(x_t, noise, condition=condition))).prediction
    x_t, noise = ours.start(0, range(batch))
    actual = next(iter(ours.chain(x_t, noise, condition=condition))).prediction
    return float((actual - expected).norm() / expected.norm())


def flops(work: Callable[[], object]) -> int:
    """Count the floating-point operations of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def measure_scaling(rounds: int, out: str | None) -> None:
    """Measure time and work over T, images and pixels, each relative to its smallest value."""
    device = the_device()
    small = {"base_channels": 16, "channel_multipliers": [1, 2, 2], "attention_resolutions": []}

    def seconds(num_steps: int, batch: int, size: int) -> tuple[float, int]:
        diffusion = {"num_steps": num_steps}
        config = RunConfig.from_dict({"generator": {"kind": "ncsnpp", **small}, "diffusion": diffusion})
        made = model(config, (3, size, size), device)
        times = interleaved({"ours": lambda: images(made, batch)}, device, rounds)["ours"]
        return sorted(times)[len(times) // 2], flops(lambda: images(made, batch))

    series = {
        "T, 16 images of 32 px": {t: seconds(t, 16, 32) for t in (1, 2, 4, 8)},
        "images of 32 px, T = 4": {n: seconds(4, n, 32) for n in (8, 16, 32, 64)},
        "image size in pixels, 4 images, T = 4": {size: seconds(4, 4, size) for size in (32, 64, 128, 256)},
    }
    rows = []
    for name, found in series.items():
        first = next(iter(found.values()))
        for value, (time, work) in found.items():
            text = (
                f"{time:.3f} s, {time / first[0]:.2f} times the first; {work / first[1]:.2f} times the work"
            )
            rows.append((f"{name}: {value}", text))
    publish("scaling", rows, {"series": series}, out)


if __name__ == "__main__":
    main()
