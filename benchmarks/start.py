"""Time to the first image from a cold start, and of the import: python -m benchmarks.start [--out X.json].

Runs `ddgan sample MODEL -n 1` in a new process with the network of a preset and random weights, and
`import ddgan` compared with `import torch`, interleaved.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.common import interleaved, publish, settings_of, spread
from benchmarks.sampling import model


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cifar10")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = model(*settings_of(options.preset), torch.device("cpu")).save(Path(folder) / "model")
        picture = Path(folder) / "one.png"
        works = {
            "import torch": python("-c", "import torch"),
            "import torch, ddgan": python("-c", "import torch, ddgan"),
            f"ddgan sample -n 1, {options.preset}": python(
                *("-m", "ddgan", "sample", str(weights), "-n", "1", "--out", str(picture), "--overwrite")
            ),
        }
        times = interleaved(works, torch.device("cpu"), options.rounds)
    rows = [(f"seconds, {name}", spread(found)) for name, found in times.items()]
    publish("start", rows, {"seconds": times}, options.out)


def python(*arguments: str) -> Callable[[], object]:
    """Return a call that runs a new interpreter with these arguments."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    main()
