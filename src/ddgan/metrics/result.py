"""Report: what an evaluation found, under which protocol, as JSON and as a table."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddgan.metrics.classes import BalanceScore, ClassesScore
from ddgan.metrics.frechet import FrechetScore
from ddgan.metrics.inception_score import InceptionScore
from ddgan.metrics.kernel import KernelScore
from ddgan.metrics.memorisation import MemorisationScore
from ddgan.metrics.modes import CoverageScore, as_table
from ddgan.metrics.precision_recall import DensityScore, ManifoldScore
from ddgan.metrics.resampling import Interval
from ddgan.metrics.speed import SpeedScore
from ddgan.system import images

PROTOCOL = 2
"""Grows whenever a score changes for the same samples."""
METRICS = (
    "frechet",
    "kernel",
    "precision_recall",
    "density_coverage",
    "inception_score",
    "modes",
    "balance",
    "classes",
    "speed",
    "memorisation",
)


@dataclass(frozen=True)
class FeaturesUsed:
    """Which features the scores compare.

    Attributes:
        name: what `--features` calls them.
        checksum: SHA-256 of all that decides their values.
        facts: such as a classifier's accuracy, or the file of the weights.
    """

    name: str
    checksum: str
    facts: dict[str, Any]


def versions() -> dict[str, str]:
    """The software that scores depend on."""
    from ddgan import __version__

    return {
        "ddgan": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class Report:
    """The scores of one set of samples; those that were not asked for are None.

    Attributes:
        data: the data source, or file of statistics, that the samples were compared with.
        split: of the data.
        data_checksum: of its images and labels.
        num_real: how many real images there were.
        samples: "model", or the name of the file or folder.
        num_samples: N.
        seed: of the samples, if a model made them.
        num_steps: T of the model, or how often a baseline calls its network; None for files.
        features: which features were compared, if any were.
        seconds: wall time of making, or reading, all N samples.
        machine: where that was measured.
        warnings: what a reader of the scores should know.
        pictures: by name, uint8 (H, W, 3 or 1); written beside the JSON.
    """

    data: str
    num_samples: int
    seed: int
    num_steps: int | None
    seconds: float
    machine: str
    samples: str = "model"
    split: str | None = None
    data_checksum: str | None = None
    num_real: int | None = None
    features: FeaturesUsed | None = None
    frechet: FrechetScore | None = None
    kernel: KernelScore | None = None
    precision_recall: ManifoldScore | None = None
    density_coverage: DensityScore | None = None
    inception_score: InceptionScore | None = None
    modes: CoverageScore | None = None
    balance: BalanceScore | None = None
    classes: ClassesScore | None = None
    speed: SpeedScore | None = None
    memorisation: MemorisationScore | None = None
    warnings: tuple[str, ...] = ()
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    versions: dict[str, str] = field(default_factory=versions)
    protocol: int = PROTOCOL

    @property
    def images_per_second(self) -> float | None:
        """Sampling speed at the best batch size, if it was measured."""
        return None if self.speed is None else self.speed.images_per_second

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no infinity: it is None there."""
        pictures, plain = self.pictures, {}
        for known in fields(self):
            if known.name != "pictures":
                value = getattr(self, known.name)
                plain[known.name] = asdict(value) if hasattr(value, "__dataclass_fields__") else value
        return _finite(plain | ({"pictures": sorted(pictures)} if pictures else {}))

    def save(self, path: Path) -> None:
        """Write as JSON; pictures become X.NAME.png beside X.json."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        for name, picture in self.pictures.items():
            images.save_png(picture, path.with_suffix(f".{name}.png"))

    def table(self) -> list[tuple[str, str]]:
        """Rows (name, value) for a person to read."""
        rows: list[tuple[str, str]] = []
        if self.modes is not None:
            rows += as_table(self.modes)
        else:
            rows.append(("samples (N)", f"{self.num_samples:,}"))
        rows += self._distribution_rows() + self._class_rows() + self._memorisation_rows()
        rows += self._speed_rows()
        if self.features is not None:
            facts = "".join(f", {name} {shown(value)}" for name, value in self.features.facts.items())
            rows.append(("features", f"{self.features.name} ({self.features.checksum[:12]}{facts})"))
        if self.num_real is not None:
            rows.append(("real images", f"{self.num_real:,} of {self.data}, {self.split}"))
        return rows + [("warning", warning) for warning in self.warnings]

    def _distribution_rows(self) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        if (f := self.frechet) is not None:
            rank = f", rank {f.rank} of {f.num_features}" if f.rank < f.num_features else ""
            rows.append((f.name, f"{f.value:.4g}{within(f.interval)}{rank}"))
        if (k := self.kernel) is not None:
            rows.append((k.name, f"{k.value:.3e} +- {k.deviation:.1e} over {k.num_subsets} subsets"))
        if (p := self.precision_recall) is not None:
            rows.append((f"precision (k = {p.k})", f"{p.precision:.4f}{within(p.precision_interval)}"))
            rows.append((f"recall (k = {p.k})", f"{p.recall:.4f}{within(p.recall_interval)}"))
        if (d := self.density_coverage) is not None:
            rows.append((f"density (k = {d.k})", f"{d.density:.4f}{within(d.density_interval)}"))
            rows.append((f"coverage (k = {d.k})", f"{d.coverage:.4f}{within(d.coverage_interval)}"))
        if (i := self.inception_score) is not None:
            splits = f"{i.mean_of_splits:.3f} +- {i.deviation_of_splits:.3f} in {i.num_splits} splits"
            rows.append((i.name, f"{i.value:.3f} ({splits})"))
        return rows

    def _class_rows(self) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        if (b := self.balance) is not None:
            rows.append(("classes found", f"{b.classes_found} of {b.num_classes}"))
            rows.append(("KL of class shares from the real ones", f"{b.kl:.4f}"))
            rows.append(("the same of N real samples", f"{b.kl_floor:.4f}"))
            rows.append(("classifier's accuracy on held-out images", f"{b.classifier_accuracy:.1%}"))
        if (c := self.classes) is not None:
            rows.append(("samples read as the class asked for", f"{c.agreement:.1%}"))
            rows.append(("the same for held-out real images", f"{c.agreement_real:.1%}"))
            least = f"least {c.least_diversity:.3f} in class {c.least_diverse}"
            rows.append(("distance within a class, over the real one", f"{c.diversity:.3f} ({least})"))
        return rows

    def _memorisation_rows(self) -> list[tuple[str, str]]:
        if (m := self.memorisation) is None:
            return []
        return [
            ("chance to be nearer to training images", f"{m.nearer:.3f}{within(m.interval)}; held-out: 0.5"),
            ("nearer than 99% of held-out images", f"{m.near:.1%}"),
            ("copies of training images", f"{m.copies:.1%}"),
        ]

    def _speed_rows(self) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        if (s := self.speed) is not None:
            hundred = s.seconds_per_100
            spread = f"{hundred.fastest:.3g} to {hundred.slowest:.3g}, {hundred.repeats} times"
            best = f"{s.images_per_second:,.0f} images/s at a batch of {s.best_batch}"
            rows.append(("sampling speed", f"{best} ({s.device}, {s.dtype})"))
            rows.append(("seconds per 100 images, batch of 100", f"{hundred.median:.3g} ({spread})"))
            rows.append(("seconds for one image", f"{s.latency.median:.3g}"))
            rows.append(("peak memory", f"{s.peak_memory / 2**20:,.0f} MiB"))
        if self.num_steps is not None:
            rows.append(("generator calls per image (NFE)", str(self.num_steps)))
        rows.append(("seconds for all samples", f"{self.seconds:.1f}"))
        return rows


def within(interval: Interval | None) -> str:
    """A 95 % interval, for a table."""
    return "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"


def shown(value: Any) -> str:
    """A fact, for a table."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)[:40]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
