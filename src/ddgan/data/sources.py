"""Data sources by name: what `--data` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ddgan.data.batch import Data
from ddgan.data.decode import Preparation
from ddgan.data.digits import SingleDigits, StackedDigits
from ddgan.data.prepared import ImageDataset, is_prepared
from ddgan.data.readers import FORMS, PREFIXES
from ddgan.data.readers.splits import ALIASES, remedy
from ddgan.data.toy import Gaussians

EMBEDDED: dict[str, Any] = {
    "digits": StackedDigits,
    "single_digits": SingleDigits,
    "gaussians": Gaussians,
}
"""What comes with the package, by name."""
EMBEDDED_SPLITS = ("train", "test")


def check_source(name: str) -> None:
    """Complain where `name` is no data source, before any work is done.

    Raises:
        ValueError: saying what data may be.
    """
    is_prefixed = any(name.startswith(prefix) and name != prefix for prefix in PREFIXES)
    if name in EMBEDDED or is_prefixed or (name and Path(name).expanduser().exists()):
        return
    given = f"data is '{name}', which does not exist" if name else "this configuration names no data"
    raise ValueError(f"{given}; pass --data with one of {', '.join(EMBEDDED)}, or {FORMS}")


def open_source(
    name: str,
    seed: int,
    device: torch.device | str = "cpu",
    state_shape: tuple[int, ...] | None = None,
    *,
    num_held_out: int = 0,
    split: str | None = None,
    progress: bool = False,
) -> Data:
    """The training data called `name`, in an order that depends on `seed`.

    A source of images that is not prepared yet is prepared into the cache, at the size and with the
    channels of `state_shape`. If no split is given it is "train", everything where there are no splits, or
    what a prepared dataset has.
    `num_held_out` of its images are kept from training; what is embedded holds out by itself.

    Raises:
        ValueError: if there is no such source or split, it is damaged, or it has other shapes.
    """
    check_source(name)
    if name in EMBEDDED:
        if split not in (None, *EMBEDDED_SPLITS):
            raise ValueError(f"split is '{split}'; {name} has {' and '.join(EMBEDDED_SPLITS)}")
        source = EMBEDDED[name](seed=seed, device=device, split=split or "train")
    else:
        path = Path(name).expanduser()
        if not is_prepared(path):
            path = _prepared(name, state_shape, split or "", progress)
        source = ImageDataset(path, seed, device, num_held_out)
        if split is not None and source.info["split"] not in (split, ALIASES.get(split)):
            raise ValueError(
                f"split is {split}, but '{name}' was prepared from {source.info['split']}; prepare that too"
            )
    if state_shape is not None and source.state_shape != state_shape:
        raise ValueError(
            f"the model makes samples of shape {state_shape}, but {name} has {source.state_shape}; prepare "
            "data of that shape, or train a generator of this one (image_size, image_channels or state_shape)"
        )
    return source


def contents_of(source: Data) -> str:
    """The checksum of prepared images, wherever they lie; "" of what comes with the package."""
    return source.info["checksum"] if isinstance(source, ImageDataset) else ""


def _prepared(name: str, state_shape: tuple[int, ...] | None, split: str, progress: bool) -> Path:
    from ddgan.data.preparation import Selection, prepare

    selection = Selection(split=split)
    if state_shape is None:
        return prepare(name, selection=selection, progress=progress)
    if len(state_shape) != 3:
        raise ValueError(f"the model makes samples of shape {state_shape}, but '{name}' has images")
    channels, height, width = state_shape
    if height != width:
        raise ValueError(
            f"the model makes images of {height} x {width}; only square ones are prepared on the way, "
            f"so prepare the data first: {remedy(name)}"
        )
    options = Preparation(size=height, channels=channels)
    return prepare(name, options=options, selection=selection, progress=progress)
