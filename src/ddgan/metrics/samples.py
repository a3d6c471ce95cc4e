"""The samples to score: from a model, a folder of PNG files or an array.

Images are quantised to uint8 in memory exactly as `ddgan sample` writes them, so a model and its saved
samples have the same scores. Nothing is resized or compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.config.settings import shown
from ddgan.data.batch import DataConfig
from ddgan.data.decode import decode
from ddgan.data.prepared import ImageDataset, is_prepared
from ddgan.data.readers import open_reader
from ddgan.data.readers.arrays import LABEL_KEYS
from ddgan.models.model import Model
from ddgan.models.opening import load
from ddgan.models.sample_files import RECORD_NAME
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.images import finite, to_levels
from ddgan.system.outputs import read_record, record_beside

__all__ = ["Samples", "holds_samples", "open_samples", "quantised"]

BATCH_SIZE = 500
LOSSY = (".jpg", ".jpeg", ".webp")


class Samples:
    """Samples in a fixed order.

    Args:
        name: name for tables and errors.
        sample_shape: the shape of one sample.
        count: number of samples.
        stream: returns a new iterator over uint8 batches (B, C, H, W), or float32 points (B, ...).
        labels: requested class of each sample, int64 (N,), or None; or a function that finds out.
        class_names: names of these classes, if the source names them.
        model: the model of the samples, or None for files.
        warnings: warnings for readers of the scores.
    """

    def __init__(
        self,
        name: str,
        sample_shape: tuple[int, ...],
        count: int,
        stream: Callable[[], Iterator[Tensor]],
        labels: Tensor | Callable[[], Tensor | None] | None = None,
        model: Model | None = None,
        warnings: tuple[str, ...] = (),
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.name, self.sample_shape, self.count, self.batches = name, sample_shape, count, stream
        self._labels, self.model, self.warnings, self.class_names = labels, model, warnings, class_names

    @cached_property
    def labels(self) -> Tensor | None:
        """Requested class of each sample, int64 (N,), or None.

        Raises:
            ValueError: if only some samples have a class.
        """
        found = self._labels() if callable(self._labels) else self._labels
        return None if found is None else found[: self.count]

    @property
    def own_data(self) -> DataConfig | None:
        """Settings of the data that the model was trained on; None without a model."""
        return None if self.model is None else self.model.config.data

    @property
    def data_checksum(self) -> str:
        """Checksum of that data; empty if it is not known or cannot change."""
        return getattr(self.model, "data_checksum", "")


def open_samples(source: Any, n: int | None, seed: int, default_n: int) -> Samples:
    """Open the samples of a model, of files or of an array; for `source` see `evaluate`.

    Raises:
        ValueError: if nothing can be scored, or there are fewer than n samples.
    """
    if isinstance(source, (np.ndarray, Tensor)):
        return _cut(_from_array(source), n)
    if isinstance(source, (str, Path)) and holds_samples(source):
        path = Path(source).expanduser()
        if is_prepared(path):
            return _cut(_from_dataset(ImageDataset(path)), n)
        return _cut(_from_npz(path) if path.suffix.lower() == ".npz" else _from_folder(path), n)
    model = load(source) if isinstance(source, (str, Path)) else source
    if not isinstance(model, Model):
        raise ValueError(
            f"a {type(model).__name__} cannot be scored; pass a model (see ddgan.models.model.Model), a "
            "path, or samples as an array or a tensor"
        )
    return _from_model(model, default_n if n is None else n, seed)


def holds_samples(source: str | Path) -> bool:
    """Whether a path has samples, not a model."""
    path = Path(source).expanduser()
    if path.is_dir():
        if is_prepared(path):
            return True
        holds_images = any(p.suffix.lower() in (".png", *LOSSY) for p in path.rglob("*"))
        return holds_images and not (path / WEIGHTS_NAME).is_file()
    return path.suffix.lower() == ".npz"


def _from_model(model: Model, n: int, seed: int) -> Samples:
    def stream() -> Iterator[Tensor]:
        for batch in model.batches(n, seed):
            yield quantised(batch)

    count = model.conditions.num_classes
    labels = torch.arange(n) % count if count else None
    return Samples("model", model.sample_shape, n, stream, labels, model)


def quantised(batch: Tensor) -> Tensor:
    """Quantise images (B, C, H, W) in [-1, 1] to uint8, on the CPU; points (B, ...) become float32.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    finite(batch)
    if batch.ndim != 4:
        return batch.float().cpu()
    return to_levels(batch).cpu()


def _from_array(array: np.ndarray | Tensor) -> Samples:
    """Open uint8 arrays (N, H, W, C), tensors (N, C, H, W), uint8 or in [-1, 1], or points (N, F)."""
    if isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 4:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).permute(0, 3, 1, 2)
    else:
        tensor = torch.as_tensor(array)
    if tensor.ndim not in (2, 4) or 0 in tensor.shape:
        raise ValueError(
            f"samples have shape {tuple(tensor.shape)}; images must be uint8 arrays (N, H, W, C) or tensors "
            "(N, C, H, W), points must be (N, F)"
        )
    if tensor.ndim == 4 and tensor.shape[1] > 4:
        raise ValueError(
            f"samples have shape {tuple(tensor.shape)}, which means {tensor.shape[1]} channels; tensors must "
            "be (N, C, H, W), uint8 arrays (N, H, W, C)"
        )
    if tensor.is_floating_point():
        quantised(tensor)
        if tensor.ndim == 4:
            _check_range(tensor)
    elif tensor.dtype != torch.uint8:
        raise ValueError(f"samples are {tensor.dtype}; images must be uint8, or float in [-1, 1]")

    def stream() -> Iterator[Tensor]:
        for part in tensor.split(BATCH_SIZE):
            yield part if part.dtype == torch.uint8 else quantised(part)

    return Samples("array", tuple(tensor.shape[1:]), len(tensor), stream)


def _check_range(images: Tensor) -> None:
    low, high = float(images.min()), float(images.max())
    if low < -1.001 or high > 1.001 or low >= 0:
        raise ValueError(
            f"samples are float images in {low:.3g}..{high:.3g}; they must be in [-1, 1], where -1 is black, "
            "or uint8"
        )


def _from_dataset(dataset: ImageDataset) -> Samples:
    def stream() -> Iterator[Tensor]:
        for first in range(0, len(dataset), BATCH_SIZE):
            yield torch.from_numpy(np.array(dataset.images[first : first + BATCH_SIZE]))

    labels = None if dataset.labels is None else torch.from_numpy(dataset.labels)
    names = dataset.info["class_names"]
    return Samples(
        dataset.path.name,
        dataset.sample_shape,
        len(dataset),
        stream,
        labels,
        class_names=tuple(names) if names else None,
    )


def _from_npz(path: Path) -> Samples:
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file.files
            points = file["points"] if "points" in names else None
            key = next((key for key in LABEL_KEYS if key in names), None)
            labels = None if points is None or key is None else file[key]
    except Exception as error:  # a damaged zip can raise any exception
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    if points is None:
        return _from_reader(path)
    samples = _from_array(points)
    samples.name = path.name
    unread = [name for name in names if name not in ("points", key)]
    if labels is None:
        samples._labels = lambda: _recorded_classes(path, samples.count)
    elif labels.shape == (samples.count,) and np.issubdtype(labels.dtype, np.integer):
        samples._labels = torch.from_numpy(labels.astype(np.int64))
    else:
        unread.append(str(key))
    if unread:
        samples.warnings += (f"{path.name}: {_not_read(unread)}",)
    return samples


def _not_read(names: Sequence[str]) -> str:
    """Say which arrays of a file were not read."""
    listed = ", ".join(map(shown, names))
    return f"the arrays {listed} were not read" if len(names) > 1 else f"the array {listed} was not read"


def _recorded_classes(path: Path, count: int) -> Tensor | None:
    """Return the classes that `ddgan sample` recorded beside its output, int64 (count,), or None."""
    beside = path / RECORD_NAME if path.is_dir() else record_beside(path)
    try:
        record = read_record(beside)
        asked, label = record["class"], record["config"]["conditions"]["label"]
        classes = 0 if label is None else int(label["classes"])
        if record["n"] != count or not classes:
            return None
        return torch.arange(count) % classes if asked is None else torch.full((count,), int(asked))
    except (ValueError, KeyError, TypeError):
        return None


def _from_folder(path: Path) -> Samples:
    lossy = sum(p.suffix.lower() in LOSSY for p in path.rglob("*"))
    samples = _from_reader(path)
    if lossy:
        samples.warnings += (f"{lossy} files are JPEG or WebP, whose compression changes the scores",)
    return samples


def _from_reader(path: Path) -> Samples:
    """Open the images of a reader, at their original size."""
    reader = open_reader(str(path))
    first = _decoded(next(iter(reader)))

    def labels() -> Tensor | None:
        found = [item.label for item in reader]
        without = sum(label is None for label in found)
        if without == len(found):
            return _recorded_classes(path, len(found))
        if without:
            raise ValueError(f"'{path}' has {without:,} of {len(found):,} samples without a class")
        return torch.from_numpy(reader.numbered(np.array(found, dtype=np.int64)))

    def stream() -> Iterator[Tensor]:
        waiting: list[np.ndarray] = []
        for item in reader:
            image = _decoded(item)
            if image.shape != first.shape:
                raise ValueError(
                    f"'{item.name}' has shape {image.shape}, but the first sample {first.shape}; they must "
                    "be equal"
                )
            waiting.append(image)
            if len(waiting) == BATCH_SIZE:
                yield torch.from_numpy(np.stack(waiting)).permute(0, 3, 1, 2)
                waiting = []
        if waiting:
            yield torch.from_numpy(np.stack(waiting)).permute(0, 3, 1, 2)

    height, width, channels = first.shape
    return Samples(
        path.name,
        (channels, height, width),
        len(reader),
        stream,
        labels,
        warnings=reader.notes,
        class_names=reader.class_names,
    )


def _decoded(item: Any) -> np.ndarray:
    if item.problem:
        raise ValueError(f"'{item.name}' cannot be used: {item.problem}")
    try:
        return decode(item.content)
    except ValueError as error:
        raise ValueError(f"'{item.name}' cannot be used: {error}") from None


def _cut(samples: Samples, n: int | None) -> Samples:
    """Return the first n samples."""
    if n is None or n == samples.count:
        return samples
    if not 1 <= n <= samples.count:
        raise ValueError(f"n is {n}, but {samples.name} has {samples.count} samples")
    whole, count = samples.batches, n

    def stream() -> Iterator[Tensor]:
        left = count
        for batch in whole():
            yield batch[:left]
            left -= len(batch)
            if left <= 0:
                return

    samples.batches, samples.count = stream, n
    return samples
