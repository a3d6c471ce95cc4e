"""Writing decoded images one by one into the files of a dataset."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.decode import Preparation
from ddgan.data.holding_out import held_out_rows, image_key
from ddgan.data.parallel import Decoded
from ddgan.data.prepared import FORMAT, HELD_OUT_NAME, IMAGES_NAME, INFO_NAME, LABELS_NAME
from ddgan.data.readers import Reader

__all__ = ["Mended", "write_dataset"]

Mended = Callable[[str], str]
"""An option of `ddgan prepare` -> the command to prepare again with that option added."""
MOST_NAMED = 5
DEPTHS = {16: (255, 1023, 4095, 16383, 32767), 8: (1, 3, 7, 15)}
"""Bits per value -> largest values of images of fewer bits that are often stored so."""
MOST_CLASSES = 1_000_000
"""Labels from this number on are refused, as they are not classes."""


@dataclass
class Tally:
    """State collected while images are written.

    Attributes:
        shape: shape of the first image, required of all others.
        first_name: name of the first image.
        labels: labels of the stored images.
        skipped: name and problem of each skipped image.
        digest: digest of the stored images.
        cropped: number of images that are not square.
        cut: the largest share of such an image that is cut off.
        enlarged: number of images that were smaller than wanted.
        with_frames: number of images with further frames.
        counts: number of images of each depth, see `Picture`.
        brightest: depth -> the largest value in those images, as 8 bits.
        keys: keys of the stored images, if some of them are held out.
    """

    shape: tuple[int, ...] | None = None
    first_name: str = ""
    labels: list[int | None] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)
    cropped: int = 0
    cut: float = 0.0
    enlarged: int = 0
    with_frames: int = 0
    counts: Counter[int] = field(default_factory=Counter)
    brightest: Counter[int] = field(default_factory=Counter)

    def look_at(self, item: Decoded, size: int) -> None:
        """Count what preparing changed in a stored image of this size (0: its own)."""
        assert item.pixels is not None
        self.with_frames += item.has_frames
        self.counts[item.depth] += 1
        if item.depth:
            self.brightest[item.depth] = max(self.brightest[item.depth], int(item.pixels[:3].max()))
        if size:
            least, most = sorted(item.size)
            self.cropped += least < most
            self.cut = max(self.cut, 1 - least / most)
            self.enlarged += least < size

    def notes(self, options: Preparation, mended: Mended) -> list[str]:
        """Return lines about what preparing changed."""
        total, found = f"of {len(self.labels):,} images", list[str]()
        if self.cropped and options.resize == "crop":
            found.append(
                f"{self.cropped:,} {total} are not square and were cropped to their centred square (up to "
                f"{self.cut:.0%} cut off); to keep all, with black margins: {mended('--resize fit')}"
            )
        elif self.cropped:
            found.append(f"{self.cropped:,} {total} are not square and have black margins (--resize fit)")
        if self.enlarged:
            size = f"{options.size} x {options.size}"
            found.append(f"{self.enlarged:,} {total} are smaller than {size} and were enlarged")
        if self.with_frames:
            found.append(f"{self.with_frames:,} {total} have several frames, of which the first was read")
        for depth, largest in DEPTHS.items():
            brightest, scale = self.brightest[depth], 257 if depth == 16 else 1
            white = next((most for most in largest if brightest <= -(-most // scale)), None)
            if self.counts[depth] and white is not None:
                found.append(
                    f"{self.counts[depth]:,} {total} are stored in {depth} or more bits, but their brightest "
                    f"value is {brightest} of 255; if white is {white:,}: {mended(f'--range 0 {white}')}"
                )
        return found

    keys: bytearray = field(default_factory=bytearray)

    def problem_of(self, item: Decoded, mended: Mended) -> str:
        """Return the reason why an image cannot be stored, or an empty string."""
        if item.pixels is None:
            return item.problem
        if self.shape is not None and item.pixels.shape != self.shape:
            return (
                f"it is {_size(item.pixels.shape)}, but '{self.first_name}' is {_size(self.shape)}; to make "
                f"all equal: {mended('--size N')}"
            )
        return ""


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]} with {shape[0]} channels"


def write_dataset(
    folder: Path,
    decoded: Iterable[Decoded],
    reader: Reader,
    metadata: dict[str, Any],
    *,
    with_labels: bool,
    needs_labels: bool,
    skip_bad: bool,
    mended: Mended,
    options: Preparation,
    hold_out: float = 0.0,
) -> None:
    """Write images, labels, the indices of images held out, and dataset.json.

    Args:
        folder: an empty folder.
        decoded: the images of `reader`.
        reader: the source of the class names.
        metadata: further entries of dataset.json; `source` names the source in errors.
        with_labels: whether to keep labels, if there are any.
        needs_labels: whether missing labels are an error.
        skip_bad: skip and list images that cannot be stored.
        mended: gives the remedy for errors.
        options: how the images were prepared.
        hold_out: share of the images to hold out from training.

    Raises:
        ValueError: if an image or the labels cannot be stored, or the disk is too small.
    """
    source = metadata["source"]
    tally = _write_images(
        folder, decoded, len(reader), mended, skip_bad, options.size, with_keys=hold_out > 0
    )
    if tally.shape is None:
        named = "; ".join(f"'{bad['name']}': {bad['problem']}" for bad in tally.skipped[:MOST_NAMED])
        raise ValueError(f"'{source}' has no usable image ({named or 'it is empty'})")
    labels = _checked(tally.labels, source, mended) if with_labels else None
    notes = [*reader.notes, *tally.notes(options, mended)]
    classes: dict[str, Any] = {"num_classes": 0, "class_names": None, "per_class": None}
    if labels is not None:
        labels = reader.numbered(labels)
        tally.digest.update(labels.tobytes())
        np.save(folder / LABELS_NAME, labels)
        classes = classes_of(labels, reader.class_names, source, mended)
    elif needs_labels:
        raise ValueError(f"'{source}' has no labels in the label_column; name another column")
    elif with_labels and reader.label_column:
        notes.append(f"no image has a label from 0 in '{reader.label_column}', so there are no classes")
    held_out: dict[str, Any] = {}
    if hold_out:
        rows = held_out_rows(np.frombuffer(tally.keys, np.uint64), hold_out)
        tally.digest.update(rows.tobytes())
        np.save(folder / HELD_OUT_NAME, rows)
        held_out = {"num_held_out": len(rows)}
    info = {
        "format": FORMAT,
        "shape": [len(tally.labels), *tally.shape],
        **classes,
        **held_out,
        **metadata,
        "notes": notes,
        "checksum": tally.digest.hexdigest(),
        "num_skipped": len(tally.skipped),
        "skipped": tally.skipped,
    }
    (folder / INFO_NAME).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _write_images(
    folder: Path,
    decoded: Iterable[Decoded],
    count: int,
    mended: Mended,
    skip_bad: bool,
    size: int,
    *,
    with_keys: bool = False,
) -> Tally:
    tally = Tally()
    with (folder / IMAGES_NAME).open("wb", buffering=1 << 20) as file:
        for item in decoded:
            if problem := tally.problem_of(item, mended):
                if not skip_bad:
                    raise ValueError(
                        f"'{item.name}' cannot be used: {problem} (to skip such images: "
                        f"{mended('--skip-bad')})"
                    )
                tally.skipped.append({"name": item.name, "problem": problem})
                continue
            assert item.pixels is not None
            if tally.shape is None:
                tally.shape, tally.first_name = item.pixels.shape, item.name
                _check_space(folder, count, tally.shape)
            data = item.pixels.tobytes()
            file.write(data)
            tally.digest.update(data)
            tally.labels.append(item.label)
            tally.look_at(item, size)
            if with_keys:
                tally.keys += image_key(item.pixels)
    return tally


def _check_space(folder: Path, count: int, shape: tuple[int, ...]) -> None:
    """Check that the disk has enough space, before hours of work; this also stops decompression bombs."""
    needed, free = count * math.prod(shape), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"'{folder.parent}' has {free / 1e9:,.1f} GB left, but {count:,} images of {_size(shape)} need "
            f"{needed / 1e9:,.1f} GB; choose another folder or a smaller --size"
        )


def _checked(labels: list[int | None], source: str, mended: Mended) -> np.ndarray | None:
    """Return int64 labels, or None if no image has one."""
    unknown = sum(label is None for label in labels)
    if unknown == len(labels):
        return None
    if unknown:
        raise ValueError(
            f"'{source}' has {unknown} images without a class from 0; to drop all classes: "
            f"{mended('--labels none')}"
        )
    return np.array(labels, dtype=np.int64)


def classes_of(
    labels: np.ndarray, names: tuple[str, ...] | None, source: str, mended: Mended
) -> dict[str, Any]:
    """Return the entries of dataset.json about the classes of labels (N,).

    Raises:
        ValueError: if a label is not a class.
    """
    most = int(labels.max())
    if not names and most >= MOST_CLASSES:
        raise ValueError(
            f"'{source}' has a label {most}, which is not a class; name another --label_column, or drop all "
            f"classes: {mended('--labels none')}"
        )
    count = len(names) if names else most + 1
    if most >= count:
        raise ValueError(f"'{source}' has a label {most}, but names only {count} classes")
    per_class = np.bincount(labels, minlength=count).tolist()
    return {"num_classes": count, "class_names": list(names) if names else None, "per_class": per_class}
