"""Report: the results of an evaluation and its protocol, as JSON and as a table."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
import torch

from ddgan.metrics.balance import BalanceScore
from ddgan.metrics.classes import ClassesScore
from ddgan.metrics.frechet import FrechetScore
from ddgan.metrics.inception_score import InceptionScore
from ddgan.metrics.kernel import KernelScore
from ddgan.metrics.memorisation import MemorisationScore
from ddgan.metrics.metric import METRICS
from ddgan.metrics.modes import CoverageScore
from ddgan.metrics.precision_recall import DensityScore, ManifoldScore
from ddgan.metrics.speed import SpeedScore
from ddgan.system import images
from ddgan.system.outputs import check_output, write_record
from ddgan.system.version import __version__

__all__ = ["PROTOCOL", "FeaturesUsed", "Report", "plain_score", "versions"]

PROTOCOL = 2
"""Increased whenever a score changes for the same samples."""
S = TypeVar("S")


@dataclass(frozen=True)
class FeaturesUsed:
    """The features that the scores compare.

    Attributes:
        name: name for `--features`.
        checksum: checksum of everything that determines their values.
        metadata: such as a classifier's accuracy, or the file of the weights.
    """

    name: str
    checksum: str
    metadata: dict[str, Any]


def versions() -> dict[str, str]:
    """Return the versions of the software that scores depend on."""
    return {
        "ddgan": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


class Score(Generic[S]):
    """An attribute of a report: the score of this name in `scores`, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, report: None, owner: type) -> Score[S]: ...

    @overload
    def __get__(self, report: Report, owner: type) -> S | None: ...

    def __get__(self, report: Report | None, owner: type) -> Score[S] | S | None:
        return self if report is None else report.scores.get(self.name)


@dataclass(frozen=True)
class Report:
    """The scores of one set of samples.

    Attributes:
        data: the data that samples were compared with: a dataset, or a file of statistics.
        num_samples: N.
        seed: seed of the samples of a model.
        nfe: network evaluations per sample; None for files.
        seconds: wall time for generating or reading all N samples.
        machine: the machine of that time.
        samples: "model", or the name of the file or folder.
        split: split of the data.
        data_checksum: checksum of its images and labels.
        num_real: number of real images.
        features: the compared features, if any.
        scores: scores by metric; ddgan's own are also attributes, None if not requested.
        warnings: warnings for readers of the scores.
        pictures: pictures by name, uint8 (H, W, 3 or 1), written beside the JSON.
        versions: versions of the software.
        protocol: version of the protocol; scores are comparable only under the same one.
    """

    data: str
    num_samples: int
    seed: int
    nfe: int | None
    seconds: float
    machine: str
    samples: str = "model"
    split: str | None = None
    data_checksum: str | None = None
    num_real: int | None = None
    features: FeaturesUsed | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    versions: dict[str, str] = field(default_factory=versions)
    protocol: int = PROTOCOL

    frechet = Score[FrechetScore]()
    kernel = Score[KernelScore]()
    precision_recall = Score[ManifoldScore]()
    density_coverage = Score[DensityScore]()
    inception_score = Score[InceptionScore]()
    modes = Score[CoverageScore]()
    balance = Score[BalanceScore]()
    classes = Score[ClassesScore]()
    memorisation = Score[MemorisationScore]()
    speed = Score[SpeedScore]()

    @property
    def images_per_second(self) -> float | None:
        """Sampling speed at the best batch size, if it was measured."""
        return None if self.speed is None else self.speed.images_per_second

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, each score under its metric's name; infinity and NaN become None."""
        plain: dict[str, Any] = {}
        for known in fields(self):
            value = getattr(self, known.name)
            if known.name == "scores":
                plain |= dict.fromkeys(METRICS)
                plain |= {name: plain_score(score) for name, score in value.items()}
            elif known.name == "features":
                plain["features"] = None if value is None else asdict(value)
            elif known.name != "pictures":
                plain[known.name] = value
        found: dict[str, Any] = finite(plain | ({"pictures": sorted(self.pictures)} if self.pictures else {}))
        return found

    def save(self, path: Path) -> None:
        """Write the report as JSON, and pictures as X.NAME.png beside X.json.

        Raises:
            ValueError: if a file is there that ddgan did not write.
        """
        check_output(path, overwrite=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = {path.with_suffix(f".{name}.png"): picture for name, picture in self.pictures.items()}
        for file, picture in pictures.items():
            images.save_png(picture, check_output(file, overwrite=True))
        write_record(path, self.to_dict())

    def table(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        rows = [] if "modes" in self.scores else [("samples (N)", f"{self.num_samples:,}")]
        for name in sorted(
            self.scores, key=lambda name: name != "modes"
        ):  # modes first, others in their order
            rows += rows_of(name, self.scores[name])
        if self.nfe is not None:
            rows.append(("network evaluations per sample (NFE)", str(self.nfe)))
        rows.append(("seconds for all samples", f"{self.seconds:.1f}"))
        if self.features is not None:
            about = "".join(f", {name} {shown(value)}" for name, value in self.features.metadata.items())
            rows.append(("features", f"{self.features.name} ({self.features.checksum[:12]}{about})"))
        if self.num_real is not None:
            rows.append(("real images", f"{self.num_real:,} of {self.data}, {self.split}"))
        return rows + [("warning", warning) for warning in self.warnings]


def rows_of(metric: str, score: Any) -> list[tuple[str, str]]:
    """Return rows (name, value) of a score: its own, or one for each field."""
    if hasattr(score, "rows"):
        return list(score.rows())
    name = metric.replace("_", " ")
    return [
        (f"{name}: {known.name.replace('_', ' ')}", shown(getattr(score, known.name)))
        for known in fields(score)
    ]


def shown(value: Any) -> str:
    """Format a value for a table."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)[:40]


def plain_score(score: Any) -> Any:
    """Convert a score to nested plain values, with numbers of numpy and torch as Python's."""
    return finite(asdict(score))


def finite(value: Any) -> Any:
    """Replace infinities and NaN in plain values by None."""
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        return finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
