"""`ddgan prepare --check`: the contents of a source of images, or of a prepared dataset."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ddgan.data.decode import Preparation, decode_picture, prepare_image
from ddgan.data.preparation import Selection, open_selected
from ddgan.data.prepared import ImageDataset, is_prepared
from ddgan.data.readers import Item, Reader
from ddgan.system import images
from ddgan.system.progress import progress_bar
from ddgan.system.text import one_line

__all__ = ["DataReport", "check_dataset", "contact_sheet"]

SHEET_SIZE = 64
NUM_SHOWN = 100
MOST_NAMED = 5
LOOKED_AT, LOOKED_AT_PIXELS = 500, 300_000_000
"""Of a large source at least so many images are decoded, and more until they have so many pixels."""
ROWS_COMPARED = 64
"""Rows of an image whose colours are counted."""


@dataclass
class DataReport:
    """The result of a check.

    Attributes:
        source: the source that was checked.
        count: number of usable images, with those that were not decoded.
        unchecked: number of images that were not decoded, as not all were asked for.
        sizes: number of decoded images of each (width, height, channels).
        deep: number of decoded images with more than 8 bits per value.
        plainness: sum over the decoded images of the share of pixels with the most frequent colour.
        per_class: number of images of each class; empty without classes.
        class_names: names of the classes, if the source has any.
        duplicates: groups of names of images with equal pixels.
        bad: name and problem of each unusable image.
        ignored: number of files in a folder that are not supported images, by suffix.
        notes: what was not read, or how it was read where that is not certain.
        damaged: whether the images of a prepared dataset have changed since they were written.
    """

    source: str
    count: int = 0
    unchecked: int = 0
    sizes: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    deep: int = 0
    plainness: float = 0.0
    per_class: Counter[int] = field(default_factory=Counter)
    class_names: tuple[str, ...] | None = None
    duplicates: list[list[str]] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    ignored: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    damaged: bool = False
    shown: list[np.ndarray] = field(default_factory=list, repr=False)

    def table(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        rows = [("source", self.source), ("usable images", f"{self.count:,}")]
        if self.unchecked:
            rows.append(("not decoded", f"{self.unchecked:,}"))
        rows += [
            (f"{width} x {height}, {channels} channels", f"{number:,}")
            for (width, height, channels), number in self.sizes.most_common(MOST_NAMED)
        ]
        if others := self.sizes.most_common()[MOST_NAMED:]:
            rows.append(("other sizes", f"{sum(number for _, number in others):,}"))
        copies = sum(len(group) - 1 for group in self.duplicates)
        rows.append(("duplicates", f"{copies:,}"))
        rows += [("", " = ".join(group[:3])) for group in self.duplicates[:MOST_NAMED]]
        rows.append(("unusable images", f"{len(self.bad):,}"))
        rows += [("", f"{name}: {problem}") for name, problem in self.bad[:MOST_NAMED]]
        rows += [(f"ignored: {ending}", f"{count:,}") for ending, count in sorted(self.ignored.items())]
        if self.per_class:
            rows.append(("classes", f"{len(self.per_class):,}"))
            least, most = min(self.per_class.values()), max(self.per_class.values())
            rows.append(("images per class", f"{least:,} to {most:,}"))
            if len(self.per_class) <= 20:
                names = self.class_names or ()
                rows += [
                    (
                        f"  {one_line(names[label] if label < len(names) else label)}",
                        f"{self.per_class[label]:,}",
                    )
                    for label in sorted(self.per_class)
                ]
        else:
            rows.append(("classes", "none"))
        rows += [("note", note) for note in self.notes]
        if self.damaged:
            rows.append(("DAMAGED", "the images have changed since they were written; prepare them again"))
        return rows


def check_dataset(
    source: str,
    selection: Selection | None = None,
    options: Preparation | None = None,
    *,
    every: bool = True,
    progress: bool = False,
) -> DataReport:
    """Check the images of a source, or of a prepared dataset.

    Args:
        source: as for `open_reader`, or the folder of a prepared dataset.
        selection: the part of it to use.
        options: how images will be prepared, of which the range of their values matters here.
        every: decode every image; otherwise, of a large source, 500 spread over it (or its first 500, if it
            does not know its length) and others until they have 300 million pixels.
        progress: show a progress bar.

    Raises:
        ValueError: if the source itself cannot be opened.
    """
    report = DataReport(source)
    options = options or Preparation()
    items, total, reader = _items(source, selection or Selection(), options, report)
    seen: dict[bytes, list[str]] = {}
    chosen, pixels = _evenly(total, NUM_SHOWN), 0
    needed = range(LOOKED_AT) if not total else _evenly(total, LOOKED_AT)
    with progress_bar("checking", total or None, enabled=progress) as advance:
        for index, item in enumerate(items):
            advance(1)
            try:
                if item.problem:
                    raise ValueError(item.problem)
                is_decoded = every or index in needed or pixels < LOOKED_AT_PIXELS
                picture = decode_picture(item.content, options.stated) if is_decoded else None
            except ValueError as error:
                report.bad.append((item.name, str(error)))
                continue
            report.count += 1
            if item.label is not None:
                report.per_class[item.label] += 1
            if picture is None:
                report.unchecked += 1
                continue
            image = picture.pixels
            height, width, channels = image.shape
            pixels += height * width
            report.sizes[width, height, channels] += 1
            report.deep += picture.depth > 8
            report.plainness += _plainness(image)
            digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=str(image.shape).encode()).digest()
            seen.setdefault(digest, []).append(item.name)
            if (index in chosen if total else len(report.shown) < NUM_SHOWN) and channels in (1, 3, 4):
                report.shown.append(
                    prepare_image(image, Preparation(SHEET_SIZE, 3, "fit")).transpose(1, 2, 0)
                )
    if reader is not None:  # names and numbers of string labels are known after reading
        report.class_names, report.notes = reader.class_names, list(reader.notes)
        labels = sorted(report.per_class)
        numbers = reader.numbered(np.array(labels, np.int64)).tolist()
        report.per_class = Counter(
            {number: report.per_class[label] for number, label in zip(numbers, labels, strict=True)}
        )
    report.duplicates = [names for names in seen.values() if len(names) > 1]
    return report


def _plainness(image: np.ndarray) -> float:
    """Return the share of the pixels of an image (H, W, C) with its most frequent colour: of some rows."""
    rows = image[:: max(len(image) // ROWS_COMPARED, 1)].reshape(-1, image.shape[2])
    if image.shape[2] == 4:
        rows = rows * (rows[:, 3:] > 0)  # a transparent pixel has no colour
    _, counts = np.unique(rows[:, :7] @ 256 ** np.arange(min(rows.shape[1], 7)), return_counts=True)
    return float(counts.max() / len(rows))


def _items(
    source: str, selection: Selection, options: Preparation, report: DataReport
) -> tuple[Iterator[Item], int, Reader | None]:
    path = Path(source).expanduser()
    if is_prepared(path):
        dataset = ImageDataset(path)
        if selection.split not in ("", dataset.info["split"]):
            raise ValueError(
                f"split is {selection.split}, but '{source}' was prepared from {dataset.info['split']}; "
                "leave --split out"
            )
        names = dataset.info["class_names"]
        report.class_names = tuple(names) if names else None
        report.damaged = dataset.checksum_now() != dataset.checksum
        report.notes = dataset.notes
        return _prepared_items(dataset), len(dataset), None
    reader = open_selected(source, selection, options)
    report.ignored = reader.ignored
    return iter(reader), len(reader), reader


def _prepared_items(dataset: ImageDataset) -> Iterator[Item]:
    for index, image in enumerate(dataset.images):
        label = None if dataset.labels is None else int(dataset.labels[index])
        yield Item(f"{dataset.path}[{index}]", np.asarray(image).transpose(1, 2, 0), label)


def _evenly(total: int, count: int) -> set[int]:
    """Return up to `count` indices spread evenly over 0..total-1."""
    return {round(index) for index in np.linspace(0, total - 1, min(count, total))} if total else set()


def contact_sheet(report: DataReport, path: Path) -> None:
    """Write a PNG with up to 100 images spread over the source, each fitted into 64 x 64 pixels."""
    if not report.shown:
        raise ValueError(f"'{report.source}' has no usable image to show")
    path.parent.mkdir(parents=True, exist_ok=True)
    images.save_png(images.grid(np.stack(report.shown), gap=4), path)
