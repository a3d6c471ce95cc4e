"""Data by name: values of `--data`, and the kind `images`, which is decoded once into a prepared dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import torch

from ddgan.config.components import SHORTHANDS, kinds, make, register
from ddgan.config.settings import SettingError, plain, settings
from ddgan.data.batch import DataConfig, Dataset
from ddgan.data.decode import Preparation
from ddgan.data.from_python import FROM_PYTHON, GivenConfig, is_given, kept
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset, is_prepared
from ddgan.data.readers import FORMS, PREFIXES
from ddgan.data.readers.splits import ALIASES, remedy

__all__ = ["ImagesConfig", "beside", "data_named", "fitted", "open_data", "with_data"]

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
    """Your own images in any of the usual forms, prepared into the cache at first use."""

    @property
    def name(self) -> str:
        return self.path

    @property
    def preparation(self) -> Preparation:
        """Size and channels of the prepared images."""
        return Preparation(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Preparation)})

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
            path = prepare(self.path, options=self.preparation, selection=selection, progress=progress)
        elif self.size and (self.size, self.size) != ImageDataset(path).sample_shape[1:]:
            raise SettingError(
                "size",
                f"is {self.size}, but '{self.path}' was prepared at {ImageDataset(path).sample_shape[1:]} "
                "pixels; leave it out, or prepare the images again",
            )
        dataset = ImageDataset(path, seed, device, num_held_out)
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


def fitted(config: Any, sample_shape: tuple[int, ...]) -> Any:
    """Return the data settings, with images that are not prepared yet set to this sample shape.

    Raises:
        ValueError: if images cannot have this shape.
    """
    if not isinstance(config, ImagesConfig) or is_prepared(Path(config.path).expanduser()):
        return config
    if len(sample_shape) != 3:
        raise ValueError(f"the model makes samples of shape {sample_shape}, but '{config.path}' has images")
    channels, height, width = sample_shape
    if height != width:
        raise ValueError(
            f"the model makes images of {height} x {width}, but only square ones are prepared automatically; "
            f"prepare the data first: {remedy(config.path)}"
        )
    return dataclasses.replace(config, size=height, channels=channels)


def open_data(
    config: str | DataConfig,
    seed: int = 0,
    device: torch.device | str = "cpu",
    sample_shape: tuple[int, ...] | None = None,
    *,
    num_held_out: int = 0,
    split: str | None = None,
    progress: bool = False,
) -> Dataset:
    """Open data to compare with samples of `sample_shape`; unprepared images are prepared to that shape.

    Raises:
        ValueError: if there is no such data or split, it is damaged, or it has another shape.
    """
    found = data_named(config)
    found.check()
    if sample_shape is not None:
        found = fitted(found, sample_shape)
    dataset: Dataset = found.open(seed, device, split=split, num_held_out=num_held_out, progress=progress)
    if sample_shape is not None and tuple(dataset.sample_shape) != tuple(sample_shape):
        raise ValueError(
            f"the model makes samples of shape {sample_shape}, but {found.name} has {dataset.sample_shape}; "
            "use data of that shape"
        )
    return dataset


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


def beside(given: Any, sample_shape: tuple[int, ...], *, progress: bool = False) -> str | DataConfig:
    """Return data to compare with samples of `sample_shape`; an object is read into that shape.

    Raises:
        ValueError: if the object cannot be used.
    """
    if not is_given(given):
        named: str | DataConfig = str(given) if isinstance(given, Path) else given
        return named
    channels, height, width = sample_shape if len(sample_shape) == 3 else (0, 0, 0)
    preparation = Preparation(height, channels) if height == width else None
    return cast("DataConfig", kept(given, preparation, progress=progress))
