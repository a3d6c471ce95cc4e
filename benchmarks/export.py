"""Speed of an ONNX export on a CPU, against PyTorch: python -m benchmarks.export [--out X.json].

The network of `--preset` with random weights is exported; PyTorch and onnxruntime then run the whole chain
from the same noise, in turn. onnxruntime runs as `open_onnx` and the card of an export open it, and with its
own defaults. `--clock cpu` counts the time of this process alone, for a machine with other work.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import interleaved, publish, ratios, settings_of, spread
from benchmarks.sampling import model
from ddgan import DDGAN
from ddgan.export.onnx import chain_inputs, export_onnx, open_onnx
from ddgan.networks.layers import kernels_kept

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CPU = torch.device("cpu")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="digits_quick")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64], help="images at a time")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    with tempfile.TemporaryDirectory() as folder:
        weights = model(*settings_of(options.preset), CPU).save(Path(folder))
        trained = DDGAN.from_pretrained(weights)
        out = Path(folder) / "onnx"
        record = export_onnx(trained, out, precision=options.precision)
        times = {
            n: interleaved(works(trained, out, n, options.threads), CPU, options.rounds, clock)
            for n in options.batch
        }
        files = {name: (out / name).stat().st_size for name in record["files"]}
        opening = {"opening": lambda: open_onnx(out / "chain.onnx", options.threads)}
        opened = interleaved(opening, CPU, options.rounds, clock)["opening"]
    rows = [
        ("network, T, threads", f"{options.preset}, {trained.nfe}, {options.threads}"),
        ("weights, MB in all files", f"{options.precision}, {sum(files.values()) / 1e6:.2f}"),
        ("largest difference of the graphs", f"{max(record['largest_difference'].values()):.1e}"),
        ("ms to open chain.onnx", spread([1000 * seconds for seconds in opened])),
    ]
    gains = {}
    for n, found in times.items():
        rows += [(f"ms for {n} images, {name}", spread([1000 * s for s in of])) for name, of in found.items()]
        gains[n] = ratios(found, "onnxruntime", "PyTorch")
        rows.append((f"times faster than PyTorch, {n} images", spread(gains[n])))
    values = {
        "preset": options.preset,
        "precision": options.precision,
        "clock": options.clock,
        "seconds": times,
        "gains": gains,
        "seconds_to_open": opened,
        "bytes": files,
        "difference": record["largest_difference"],
    }
    publish("export", rows, values, options.out)


def works(trained: DDGAN, out: Path, n: int, threads: int) -> dict[str, Callable[[], object]]:
    """Return what runs the chain of n images from noise drawn before."""
    import onnxruntime

    given = chain_inputs(trained, n)
    arrays = {name: value.numpy() for name, value in given.items()}
    ours = open_onnx(out / "chain.onnx", threads)
    theirs = onnxruntime.InferenceSession(str(out / "chain.onnx"), providers=["CPUExecutionProvider"])
    return {
        "PyTorch": lambda: in_pytorch(trained, given),
        "onnxruntime": lambda: ours.run(None, arrays),
        "onnxruntime, its defaults": lambda: theirs.run(None, arrays),
    }


@torch.no_grad()
def in_pytorch(trained: DDGAN, given: dict[str, Tensor]) -> Tensor:
    """Run the chain from the inputs of chain.onnx, as `DDGAN.sample` does."""
    x, draws = given["x_T"], []
    for step in range(trained.nfe):
        draws.append(given["z"][:, step] if "z" in given else x.new_zeros(len(x), 0))
        draws.append(given["noise"][:, step] if "noise" in given else x)
    following = iter(draws)
    with kernels_kept(trained.generator):
        for step in trained.chain(x, lambda *shape: next(following), condition=trained.condition_for(len(x))):
            x = step.x_prev
    return x


if __name__ == "__main__":
    main()
