"""Data from Python: read once and cached like prepared images, keyed by its contents.

In any form, training uses a prepared dataset in the cache, mapped from a file. So large data needs no more
memory than files, and later changes of the object do not affect the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Len

from ddgan.config.components import register
from ddgan.config.settings import Interval, plain, settings
from ddgan.data.batch import Dataset
from ddgan.data.cache import cache_folder, only_one
from ddgan.data.decode import Preparation
from ddgan.data.parallel import CHUNK, advancing, decode_all
from ddgan.data.preparation import Selection, cores, wanted_of
from ddgan.data.prepared import FORMAT, ImageDataset, read_info
from ddgan.data.readers import FirstItems, Reader
from ddgan.data.readers.objects import SOURCE, mended_in_python, read_object
from ddgan.data.readers.splits import refuse_split
from ddgan.data.writing import write_dataset
from ddgan.system.files import folder_made_atomically
from ddgan.system.progress import progress_bar

__all__ = ["FROM_PYTHON", "GivenConfig", "is_given", "kept"]

FROM_PYTHON = "from_python"


@settings
class _Contents:
    """Description of the data; the data itself is in the cache.

    Args:
        form: form of the object, in words.
        count: number of images.
        shape: shape of each prepared image: channels, height, width.
        num_classes: number of classes; 0 without labels.
        checksum: checksum of images and labels.
    """

    form: str = ""
    count: Annotated[int, Interval(ge=0, le=10**12)] = 0
    shape: Annotated[tuple[Annotated[int, Interval(ge=1, le=65_536)], ...], Len(max_length=3)] = ()
    num_classes: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    checksum: str = ""


@register("data", FROM_PYTHON)
class GivenConfig(Preparation, Selection, _Contents):
    """Data from Python, as in ddgan.train(..., data=array)."""

    @property
    def name(self) -> str:
        return self.form or FROM_PYTHON

    @property
    def folder(self) -> Path:
        """Its folder in the cache."""
        parts = [FORMAT, self.count, list(self.shape), self.num_classes, self.checksum]
        return cache_folder() / "datasets" / f"python-{_digest(parts)}"

    def check(self) -> None:
        if not self._is_kept():
            what = f" ({self.form}, {self.count:,} images of shape {self.shape})" if self.form else ""
            raise ValueError(
                f"the data was given from Python{what}, but is not in this cache; give it again, as in "
                "ddgan.resume(RUN, data=...) or ddgan.evaluate(MODEL, data=...), or name files with the same "
                "images by --data"
            )

    def _is_kept(self) -> bool:
        try:
            return bool(self.form) and ImageDataset(self.folder).checksum == self.checksum
        except ValueError:
            return False

    def open(
        self,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        split: str | None = None,
        num_held_out: int = 0,
        progress: bool = False,
    ) -> Dataset:
        refuse_split(self.name, split or "")
        self.check()
        return ImageDataset(self.folder, seed, device, num_held_out)


def is_given(data: Any) -> bool:
    """Whether data is an object from Python, not a name, a path or settings."""
    is_settings = getattr(type(data), "slot", None) == "data" or (isinstance(data, dict) and "kind" in data)
    return not (data is None or isinstance(data, str | Path) or is_settings)


def kept(data: Any, like: Any = None, *, progress: bool = False) -> GivenConfig:
    """Read an object once into the cache; return settings that open it there.

    Args:
        data: an array or a tensor (N, H, W), (N, H, W, C) or (N, C, H, W) of dtype uint8, uint16, bool, or
            floating-point in [0, 1] or [-1, 1]; a tuple of one and its labels; or a map-style dataset of
            PyTorch or Hugging Face, or a list, whose items are images (PIL, array or tensor), (image, label)
            or mappings with the keys image and label. Labels are integers from 0, strings or one-hot. A
            dataset must return the same item for the same index: up to 32 items are read twice at the start
            and compared. Randomness that is rare, or only in other items, goes unnoticed; the run then trains
            on the items as read once.
        like: data settings with the size, channels, resize, filter, labels, columns, limit and hold_out.
        progress: show a progress bar.

    Raises:
        ValueError: if it is none of these, sizes differ, or values or labels cannot be used.
    """
    options, selection = _part(Preparation, like), _part(Selection, like)
    refuse_split(SOURCE, selection.split)
    keep_labels = selection.labels == "auto"
    reader: Reader = read_object(data, wanted_of(selection, options))
    form = reader.identity
    reader = FirstItems(reader, selection.limit) if selection.limit else reader
    asked = plain(options) | plain(selection)
    unfinished = cache_folder() / "datasets" / f"unfinished-{_digest([form, len(reader), asked])}"
    with only_one(unfinished):
        with (
            folder_made_atomically(unfinished) as folder,
            progress_bar("reading", len(reader), enabled=progress) as advance,
        ):
            write_dataset(
                folder,
                advancing(decode_all(reader, options, 1 if len(reader) <= 8 * CHUNK else cores()), advance),
                reader,
                {"source": form, "split": "all", "options": asked},
                with_labels=keep_labels,
                needs_labels=keep_labels and bool(selection.label_column),
                skip_bad=False,
                mended=mended_in_python,
                options=options,
                hold_out=selection.hold_out,
            )
        info = read_info(unfinished)
        found = GivenConfig(
            **asked,
            form=form,
            count=info["shape"][0],
            shape=tuple(info["shape"][1:]),
            num_classes=info["num_classes"],
            checksum=info["checksum"],
        )
        with only_one(found.folder):
            if found._is_kept():
                shutil.rmtree(unfinished)
            else:
                shutil.rmtree(found.folder, ignore_errors=True)
                os.rename(unfinished, found.folder)
    return found


def _part(cls: type, like: Any) -> Any:
    """Make settings of a class from the same names in `like`, and defaults for others."""
    return cls(**{name: getattr(like, name) for name in plain(cls()) if hasattr(like, name)})


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:20]
