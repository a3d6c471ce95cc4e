"""What a plan knows of the data: how many images, their sizes, colours and classes, copies, broken files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddgan.data.embedded import is_embedded
from ddgan.data.from_python import GivenConfig
from ddgan.data.inspection import DataReport, check_dataset
from ddgan.data.prepared import ImageDataset, is_prepared
from ddgan.data.sources import ImagesConfig

__all__ = ["Survey", "survey"]

PLAIN = 0.25
"""From this mean share of pixels with an image's most frequent colour on, images are drawings: MNIST has .81,
emoji .39, CIFAR-10 .01."""


@dataclass(frozen=True)
class Survey:
    """What is known of the data.

    Attributes:
        name: the data, in words.
        count: number of usable images; 0 if it has no end (stacked digits).
        sizes: number of images of each (height, width); of those that were looked at.
        channels: channels that all images can have without loss, and without transparency.
        per_class: number of images of each class by its name; empty without classes.
        shape: the shape (C, H, W) of images that are prepared already; None if their size can be chosen.
        holds_out: whether some images are held out by the data itself.
        copies: number of images with the same pixels as an earlier one.
        bad: name and problem of each image that cannot be used.
        unchecked: number of images that were not looked at.
        deep: number of images with more than 8 bits per value.
        is_drawn: whether they are drawings (symbols, text), by their plain background; else photographs.
        notes: what was not read, and how data was read where that is not certain.
    """

    name: str
    count: int
    sizes: Mapping[tuple[int, int], int]
    channels: int
    per_class: Mapping[str, int] = field(default_factory=dict)
    shape: tuple[int, int, int] | None = None
    holds_out: bool = False
    copies: int = 0
    bad: Sequence[tuple[str, str]] = ()
    unchecked: int = 0
    deep: int = 0
    is_drawn: bool = False
    notes: Sequence[str] = ()

    def side(self, share: float) -> int:
        """Return the largest side s such that `share` of the images have at least s pixels on each side."""
        left = (1 - share) * sum(self.sizes.values())
        for size in sorted(self.sizes, key=min):
            left -= self.sizes[size]
            if left < 0:
                return min(size)
        return max(map(min, self.sizes))


def survey(config: Any, *, progress: bool = False) -> Survey:
    """Look at data, named by its settings.

    Raises:
        ValueError: if it cannot be read, has no usable image, or does not consist of images.
    """
    if isinstance(config, ImagesConfig):
        selection = config.selection
        report = check_dataset(config.path, selection, config.preparation, every=False, progress=progress)
        path = Path(config.path).expanduser()
        return _of_report(report, ImageDataset(path) if is_prepared(path) else None)
    dataset = config.open(progress=progress)
    if isinstance(config, GivenConfig):
        return _of_report(check_dataset(str(dataset.path), every=False, progress=progress), dataset)
    shape = tuple(dataset.sample_shape)
    if len(shape) != 3:
        raise ValueError(
            f"data is {config.name}, whose samples have shape {shape}; a plan is for images; train with a "
            "preset or a configuration file"
        )
    count = len(dataset) if hasattr(dataset, "__len__") else 0
    classes = dataset.conditions.num_classes
    return Survey(
        config.name,
        count,
        {shape[1:]: max(count, 1)},
        shape[0],
        dict.fromkeys(map(str, range(classes)), count // max(classes, 1)),
        shape,
        holds_out=dataset.held_out(1) is not None,
        is_drawn=is_embedded(config),
    )


def _of_report(report: DataReport, dataset: ImageDataset | None) -> Survey:
    """Convert the report on a source, or on the prepared dataset that is given."""
    looked_at = report.count - report.unchecked
    if not looked_at:
        first = f": '{report.bad[0][0]}', {report.bad[0][1]}" if report.bad else ""
        raise ValueError(f"data is '{report.source}', which has no usable image{first}")
    channels = {channels for _, _, channels in report.sizes}
    sizes: Counter[tuple[int, int]] = Counter()
    for (width, height, _), number in report.sizes.items():
        sizes[height, width] += number
    names = report.class_names or ()
    shape: tuple[int, ...] | None = None if dataset is None else dataset.sample_shape
    return Survey(
        report.source,
        report.count,
        sizes,
        1 if channels == {1} else max(channels) if max(channels) > 4 else 3,
        {
            str(names[label] if label < len(names) else label): report.per_class[label]
            for label in sorted(report.per_class)
        },
        None if shape is None else (shape[0], shape[1], shape[2]),
        holds_out=dataset is not None and dataset.held_out(1) is not None,
        copies=sum(len(group) - 1 for group in report.duplicates),
        bad=report.bad,
        unchecked=report.unchecked,
        deep=report.deep,
        is_drawn=report.plainness / looked_at >= PLAIN,
        notes=report.notes,
    )
