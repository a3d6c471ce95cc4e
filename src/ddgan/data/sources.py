"""Data by name: values of `--data`, and the kind `images`, which is decoded once into a prepared dataset."""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from ddgan.config.components import SHORTHANDS, kinds, make, register
from ddgan.config.settings import SettingError, plain, settings
from ddgan.data.batch import DataConfig, Dataset
from ddgan.data.decode import Preparation
from ddgan.data.from_python import FROM_PYTHON, GivenConfig, is_given, kept
from ddgan.data.parallel import decode_all
from ddgan.data.preparation import Selection, open_selected, prepare
from ddgan.data.prepared import ImageDataset, is_prepared
from ddgan.data.readers import FORMS, PREFIXES
from ddgan.data.readers.splits import ALIASES, remedy

__all__ = ["ImagesConfig", "beside", "data_named", "open_data", "prepared_as", "with_data"]

IMAGES = "images"
SHORTHANDS["data"] = lambda text: {"kind": text} if text in kinds("data") else {"kind": IMAGES, "path": text}


@settings
class _Place:
    """The place of the data.

    Args:
        path: a file or folder, hf:OWNER/NAME or stackedmnist:FOLDER; if empty, the user must give one.
    """

    path: str = ""


@register("data", IMAGES)
class ImagesConfig(Preparation, Selection, _Place):
    """Your own images in any of the usual forms, prepared into the cache at first use.

    Args:
        skip_bad: leave out images that cannot be used instead of stopping; the log names the first of them.
    """

    skip_bad: bool = False

    @property
    def name(self) -> str:
        return self.path

    @property
    def preparation(self) -> Preparation:
        """Size and channels of the prepared images."""
        return preparation_of(self)

    @property
    def selection(self) -> Selection:
        """The part of the source to use."""
        return Selection(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Selection)})

    def check(self) -> None:
        is_prefixed = any(self.path.startswith(prefix) and self.path != prefix for prefix in PREFIXES)
        if is_prefixed or (self.path and Path(self.path).expanduser().exists()):
            return
        given = (
            f"data is '{self.path}', which does not exist"
            if self.path
            else "this configuration names no data"
        )
        embedded = ", ".join(kind for kind in kinds("data") if kind not in (IMAGES, FROM_PYTHON))
        raise ValueError(f"{given}; pass --data with one of {embedded}, or {FORMS}")

    def first_shape(self, split: str | None = None) -> tuple[int, ...] | None:
        """Return the shape of the first image once it is prepared; None if it cannot be used.

        Raises:
            ValueError: if there is no such data or split, or it is damaged.
        """
        path = Path(self.path).expanduser()
        if is_prepared(path):
            return ImageDataset(path).sample_shape
        selection = dataclasses.replace(self.selection, split=split or self.split)
        reader = open_selected(self.path, selection, self.preparation)
        decoded = next(decode_all(islice(reader, 1), self.preparation, 1), None)
        return None if decoded is None or decoded.pixels is None else decoded.pixels.shape

    def open(
        self,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        split: str | None = None,
        num_held_out: int = 0,
        progress: bool = False,
    ) -> Dataset:
        self.check()
        path, asked = Path(self.path).expanduser(), split or self.split
        if not is_prepared(path):
            selection = dataclasses.replace(self.selection, split=asked)
            path = prepare(
                self.path,
                options=self.preparation,
                selection=selection,
                skip_bad=self.skip_bad,
                progress=progress,
            )
        elif self.size and (self.size, self.size) != ImageDataset(path).sample_shape[1:]:
            raise SettingError(
                "size",
                f"is {self.size}, but '{self.path}' was prepared at {ImageDataset(path).sample_shape[1:]} "
                "pixels; leave it out, or prepare the images again",
            )
        dataset = ImageDataset(path, seed, device, num_held_out)
        if self.hold_out not in (0, share := dataset.info.get("options", {}).get("hold_out", 0)):
            raise SettingError(
                "hold_out",
                f"is {self.hold_out:g}, but '{self.path}' was prepared with {share:g}; leave it out, or "
                "prepare the images again",
            )
        if asked and dataset.info["split"] not in (asked, ALIASES.get(asked)):
            raise ValueError(
                f"split is {asked}, but '{self.path}' was prepared from {dataset.info['split']}; prepare "
                "that split too"
            )
        return dataset


def data_named(name: str | DataConfig) -> Any:
    """Return the settings of data by name: a kind included in the package, or a path.

    Raises:
        ValueError: if the settings are invalid.
    """
    return make("data", name)


def prepared_as(data: str | DataConfig, like: Any) -> Any:
    """Return the settings of data to compare with a model's samples.

    Images named by a path are prepared as the model's own data: the size, channels, resize and filter of
    `like`, its data settings. Settings, prepared datasets and other kinds of data stay as they are.
    """
    found = data_named(data)
    is_raw = isinstance(found, ImagesConfig) and not is_prepared(Path(found.path).expanduser())
    if not isinstance(data, str) or not is_raw or not isinstance(like, Preparation):
        return found
    return dataclasses.replace(found, **dataclasses.asdict(preparation_of(like)))


def preparation_of(config: Any) -> Preparation:
    """Return the size and channels of images in data settings."""
    return Preparation(**{f.name: getattr(config, f.name) for f in dataclasses.fields(Preparation)})


def open_data(
    config: str | DataConfig,
    seed: int = 0,
    device: torch.device | str = "cpu",
    sample_shape: tuple[int, ...] | None = None,
    *,
    num_held_out: int = 0,
    split: str | None = None,
    checksum: str = "",
    progress: bool = False,
) -> Dataset:
    """Open data to compare with samples of `sample_shape`; nothing is resized or converted to fit them.

    Args:
        config: the data, by name or by its settings.
        seed: seed of the order.
        device: device of the batches.
        sample_shape: required shape of a sample.
        num_held_out: number of samples held out from training.
        split: a part of the data; by default the one to train on.
        checksum: required checksum of its contents, which a run recorded; empty for any.
        progress: show a progress bar.

    Raises:
        ValueError: if there is no such data or split, it is damaged, or it has another shape or other
            contents; if images are not prepared yet, the shape of their first one is compared before the
            others are decoded.
    """
    found = data_named(config)
    found.check()
    if sample_shape is not None and isinstance(found, ImagesConfig):
        first = found.first_shape(split)
        _check_shape(found, sample_shape if first is None else first, sample_shape)
    dataset: Dataset = found.open(seed, device, split=split, num_held_out=num_held_out, progress=progress)
    if sample_shape is not None:
        _check_shape(found, tuple(dataset.sample_shape), sample_shape)
    if checksum and dataset.checksum != checksum:
        raise ValueError(
            f"data is '{found.name}', but its contents are not those that the model was trained on (a path "
            "is relative to the current folder); name that data, or other data to compare with, by --data"
        )
    return dataset


def _check_shape(config: Any, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if tuple(shape) == tuple(wanted):
        return
    wanted, shape = tuple(wanted), tuple(shape)
    said = f"the samples have shape {wanted}, but {config.name} has {shape}; use data of that shape"
    if isinstance(config, ImagesConfig) and len(wanted) == 3 and wanted[1] == wanted[2]:
        options = f"--size {wanted[1]} --channels {wanted[0]}"
        is_raw = not is_prepared(Path(config.path).expanduser())
        said += (
            f": {remedy(config.path, options)}" if is_raw else f": prepare the images again with {options}"
        )
    raise ValueError(said)


def with_data(config: Any, given: Any, *, progress: bool = False) -> Any:
    """Return the data settings of a run with other data; paths and objects keep the preparation options.

    Args:
        config: the data settings of the run.
        given: the new data: a kind, a path, settings, or an object from Python, see `from_python.kept`.
        progress: show a progress bar while an object is read.

    Raises:
        ValueError: if the settings are invalid, or the object cannot be used.
    """
    if is_given(given):
        return kept(given, config, progress=progress)
    given = str(given) if isinstance(given, Path) else given
    other = data_named(given)
    is_own = isinstance(config, ImagesConfig | GivenConfig)
    if is_own and isinstance(given, str) and isinstance(other, ImagesConfig):
        options = {name: value for name, value in plain(config).items() if name in plain(other)}
        return make("data", options | {"kind": IMAGES, "path": other.path})
    return other


def beside(given: Any, like: Any = None, *, progress: bool = False) -> str | DataConfig:
    """Return data to compare with samples; an object is read as `like`, data settings, prepares images.

    Raises:
        ValueError: if the object cannot be used.
    """
    if not is_given(given):
        named: str | DataConfig = str(given) if isinstance(given, Path) else given
        return named
    preparation = preparation_of(like) if isinstance(like, Preparation) else None
    return cast("DataConfig", kept(given, preparation, progress=progress))
