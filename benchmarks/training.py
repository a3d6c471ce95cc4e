"""Speed and memory of training, ours against the plain path.

    python -m benchmarks.training [--preset cifar10] [--batch 16] [--out X.json]

An iteration is one update of D and one of G. R1 applies every k-th iteration, as in the preset; iterations
with it are timed separately, and the mean is weighted. Memory is the peak of a separate process per path (on
a GPU, of its reserved memory), with the same configuration as the times.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from benchmarks.common import (
    batch_for,
    interleaved,
    matmul_rate,
    publish,
    settings_of,
    spread,
    the_device,
)
from benchmarks.plain import plain_path
from benchmarks.sampling import flops
from ddgan.data.batch import Batch
from ddgan.models.precision import DTYPES, choose_precision
from ddgan.system.processes import join_processes
from ddgan.training.cuda_graphs import NUM_USUAL, ReplayedUpdates
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cifar10")
    parser.add_argument("--batch", type=int, help="images per iteration (default: 16; on a GPU 256)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--no_graphs", action="store_true", help="do not replay iterations on a GPU")
    parser.add_argument("--out")
    options = parser.parse_args()
    device = the_device()
    batch = batch_for(device, options.batch)
    precision = choose_precision(options.precision, device)
    replayed = device.type == "cuda" and not options.no_graphs
    settings = {"plain": plain_settings(), "ours": our_settings(precision, options.compile, replayed)}
    flags = {"compiled": options.compile, "replayed": replayed}
    peaks = {path: peak_memory(options.preset, path, given, batch) for path, given in settings.items()}
    steps = {path: stepper(options.preset, path, given, batch) for path, given in settings.items()}
    works: dict[str, Callable[[], object]] = {}
    for path, step in steps.items():
        works |= {path: lambda step=step: step(False), f"{path} with R1": lambda step=step: step(True)}
    times = interleaved(works, device, options.rounds)
    every = settings_of(options.preset)[0].method.period
    mean = {path: weighed(times[path], times[f"{path} with R1"], every) for path in settings}
    gains = [slow / fast for fast, slow in zip(mean["ours"], mean["plain"], strict=True)]
    work = flops(lambda: steps["plain"](False))  # ours may need fewer for the same result
    dtype = DTYPES[precision]
    rate = matmul_rate(device, dtype)
    rows = [
        ("network, images per iteration", f"{options.preset}, {batch}"),
        ("ours computes in", ", ".join([precision, *(name for name, is_on in flags.items() if is_on)])),
        *((f"images/s, {path}", spread([batch / seconds for seconds in mean[path]])) for path in settings),
        ("times faster", spread(gains)),
        *((f"seconds, {name}", spread(found)) for name, found in times.items()),
        ("of the matmul rate", f"{work / min(times['ours']) / rate:.1%} of {rate / 1e9:,.0f} GFLOP/s"),
        *((f"peak memory, {path}", f"{peak / 2**30:.2f} GiB") for path, peak in peaks.items()),
        ("memory, share of the plain path's", f"{peaks['ours'] / peaks['plain']:.2f}"),
    ]
    values = {
        "batch": batch,
        "precision": precision,
        **flags,
        "seconds": times,
        "gains": gains,
        "peak_bytes": peaks,
        "flops_per_image": work / batch,
        "matmul_flops_per_second": rate,
    }
    publish("training", rows, values, options.out)


def plain_settings() -> dict[str, Any]:
    """Return the settings of PyTorch's defaults."""
    return {"precision": "float32", "channels_last": False, "compile": False}


def our_settings(precision: str, compile: bool, cuda_graphs: bool) -> dict[str, Any]:
    """Return the settings of our U-Net presets, with CUDA graphs on a GPU."""
    return {"precision": precision, "channels_last": True, "compile": compile, "cuda_graphs": cuda_graphs}


def stepper(preset: str, path: str, settings: dict[str, Any], batch: int) -> Callable[[bool], None]:
    """Return step(with_penalty), which runs one iteration on the same random images each time."""
    config, shape = settings_of(preset)
    config = replace(config, training=replace(config.training, batch_size=batch, **settings))
    method = config.method
    context = plain_path if path == "plain" else nullcontext
    processes = join_processes("auto")
    with context():
        state = create_state(config, shape, processes)
    layout = torch.channels_last if config.training.channels_last else torch.contiguous_format
    x = torch.rand(batch, *shape, device=processes.device) * 2 - 1
    x = x.contiguous(memory_format=layout if x.ndim == 4 else torch.contiguous_format)
    updates = ReplayedUpdates() if config.training.cuda_graphs else None

    def step(with_penalty: bool) -> None:
        state.step = 0 if with_penalty else max(method.period - 1, 1)
        noise = method.draw(config, 0, x)
        with context():
            iterate(state, Batch(x), noise, updates)

    for _ in range(NUM_USUAL if updates else 0):  # after these, both kinds are recorded
        step(False)
        step(True)
    return step


def weighed(without: list[float], penalised: list[float], every: int) -> list[float]:
    """Return the mean seconds of an iteration when every `every`-th has the penalty."""
    return [(a * (every - 1) + b) / every for a, b in zip(without, penalised, strict=True)]


def peak_memory(preset: str, path: str, settings: dict[str, Any], batch: int) -> int:
    """Measure the peak memory in bytes of two iterations, one with R1, in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:  # reports if the process fails or dies
        return pool.submit(_peak, preset, path, json.dumps(settings), batch).result()


def _peak(preset: str, path: str, settings: str, batch: int) -> int:
    step = stepper(preset, path, json.loads(settings), batch)
    step(True)
    step(False)
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
