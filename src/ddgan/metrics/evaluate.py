"""evaluate: sample a model, score the samples, measure the speed, as one report."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddgan.data import EMBEDDED, check_source
from ddgan.metrics.modes import SCORES, CoverageScore, as_table
from ddgan.model import DDGAN
from ddgan.progress import progress_bar

PROTOCOL = 1
"""Grows whenever a score changes for the same samples."""
METRICS = ("modes", "speed")
DEFAULT_SAMPLES = 26_000


@dataclass(frozen=True)
class Report:
    """The scores of one model.

    Attributes:
        data: the data source that the samples were compared with.
        num_samples: N.
        seed: of the samples.
        modes: the coverage scores, if asked for.
        images_per_second: how fast the samples were made, if asked for.
        seconds: wall time of sampling all N.
        machine: where that was measured.
    """

    data: str
    num_samples: int
    seed: int
    num_steps: int
    modes: CoverageScore | None
    images_per_second: float | None
    seconds: float
    machine: str
    protocol: int = PROTOCOL

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    def table(self) -> list[tuple[str, str]]:
        """Rows (name, value) for a person to read."""
        rows = [] if self.modes is None else as_table(self.modes)
        if self.images_per_second is not None:
            rows.append(("sampling speed", f"{self.images_per_second:,.0f} images/s ({self.machine})"))
        rows.append(("generator calls per image (NFE)", str(self.num_steps)))
        rows.append(("seconds for all samples", f"{self.seconds:.1f}"))
        return rows


def evaluate(
    model: DDGAN | str | Path,
    data: str | None = None,
    metrics: Sequence[str] | None = None,
    n: int = DEFAULT_SAMPLES,
    seed: int = 0,
    *,
    progress: bool = False,
) -> Report:
    """Score `n` samples of a model.

    Args:
        model: a DDGAN, a run folder or a weights file.
        data: what to compare with; by default what the model was trained on.
        metrics: any of "modes" (coverage and KL; for digits and gaussians) and "speed" (images per
            second); by default all that the data has.
        n: number of samples; the paper's StackedMNIST protocol has 26,000.
        seed: of the samples.
        progress: show a progress bar.

    Raises:
        ValueError: if an argument is unknown, or the model makes other samples than the data has.
    """
    model = model if isinstance(model, DDGAN) else DDGAN.from_pretrained(model)
    data = model.config.data if data is None else data
    if metrics is None:
        metrics = [metric for metric in METRICS if metric != "modes" or data in SCORES]
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown or not metrics:
        given = ", ".join(unknown) or "empty"
        raise ValueError(f"metrics: {given} is not known; choose from {', '.join(METRICS)}")
    check_source(data)
    if "modes" in metrics and data not in SCORES:
        raise ValueError(f"metrics: modes are counted for {' and '.join(SCORES)}, not for {data}; use speed")
    if data in EMBEDDED:
        check_same_shape(model, data)

    clock = SamplingClock()
    with progress_bar("scoring", n, enabled=progress) as advance:
        batches = clock.timed(model.batches(n, seed, on_batch=advance))
        if "modes" in metrics:
            score = SCORES[data](batches)
        else:
            score = None
            for _ in batches:
                pass
    return Report(
        data=data,
        num_samples=n,
        seed=seed,
        num_steps=model.diffusion.num_steps,
        modes=score,
        images_per_second=n / clock.seconds if "speed" in metrics else None,
        seconds=clock.seconds,
        machine=describe_machine(model.device),
    )


def check_same_shape(model: DDGAN, data: str) -> None:
    """Complain where the model makes other samples than the embedded `data` has."""
    wanted = EMBEDDED[data].state_shape
    if model.state_shape != wanted:
        raise ValueError(f"the model makes samples of shape {model.state_shape}, but {data} has {wanted}")


class SamplingClock:
    """Counts the time spent in making batches, not in what is done with them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """The same batches; on a GPU the clock waits for the device."""
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            if batch.is_cuda:
                torch.cuda.synchronize()
            self.seconds += time.perf_counter() - start
            yield batch


def describe_machine(device: torch.device) -> str:
    """The device that ran, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()}, {torch.get_num_threads()} threads, {platform.machine()}"
