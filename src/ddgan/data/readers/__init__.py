"""Readers: one for each form in which people keep images, all with the same face.

folder, zip, tar       `files`
npy, npz, IDX, CIFAR   `arrays`
LMDB, parquet, Hub     `tables`
stackedmnist:FOLDER    `stacked`, made from MNIST files
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from ddgan.data.readers import arrays, stacked, tables
from ddgan.data.readers.base import SPLITS, Item, Reader
from ddgan.data.readers.files import DAMAGED, ArchiveReader, FolderReader

__all__ = ["PREFIXES", "SPLITS", "Item", "Reader", "open_reader"]

PREFIXES = (tables.HUB_PREFIX, stacked.PREFIX)
"""What stands before the sources that are no plain paths."""
FORMS = (
    "a folder of images, a zip or tar of one, .npy, .npz, IDX (MNIST), CIFAR-10 batches, LMDB, parquet, "
    "hf:OWNER/NAME or stackedmnist:FOLDER"
)


def open_reader(
    source: str, split: str = "train", image_column: str | None = None, label_column: str | None = None
) -> Reader:
    """The reader for `source`, found by what is there.

    Args:
        source: a path, hf:OWNER/NAME, or stackedmnist:FOLDER with the MNIST files.
        split: train, test, validation or all, for sources that have splits.
        image_column: for parquet and the Hub, instead of the customary names.
        label_column: the same for the labels.

    Raises:
        ValueError: if there is nothing, or nothing known, or it is damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"split is '{split}'; it must be one of {', '.join(SPLITS)}")
    if source.startswith(tables.HUB_PREFIX):
        return tables.HubReader(source.removeprefix(tables.HUB_PREFIX), split, image_column, label_column)
    if source.startswith(stacked.PREFIX):
        folder = Path(source.removeprefix(stacked.PREFIX)).expanduser()
        if not folder.is_dir():
            raise ValueError(f"'{folder}' is no folder; stackedmnist: needs the one with the MNIST files")
        return stacked.StackedReader(arrays.read_idx_images(folder, split), split)
    path = Path(source).expanduser()
    if not path.exists():
        raise ValueError(f"'{source}' does not exist; data may be {FORMS}")
    if path.is_dir():
        return _open_folder(path, split, image_column, label_column)
    return _open_file(path, split, image_column, label_column)


def _open_folder(path: Path, split: str, image_column: str | None, label_column: str | None) -> Reader:
    if arrays.is_cifar(path):
        return arrays.read_cifar(path, split)
    lmdb = path / f"{split}.lmdb"
    for candidate in (path, lmdb):
        if tables.is_lmdb(candidate):
            return tables.LMDBReader(candidate)
    if any(arrays.is_idx_name(file.name) for file in path.iterdir()):
        return arrays.read_idx_images(path, split)
    if any(path.rglob("*.parquet")):
        return tables.ParquetReader(path, split, image_column, label_column)
    return FolderReader(path)


def _open_file(path: Path, split: str, image_column: str | None, label_column: str | None) -> Reader:
    if path.suffix in (".npy", ".npz"):
        return arrays.read_numpy(path)
    if path.suffix == ".parquet":
        return tables.ParquetReader(path, split, image_column, label_column)
    if path.suffix == ".lmdb" or path.suffix == ".mdb":
        return tables.LMDBReader(path)
    if arrays.is_idx_name(path.name):
        return arrays.read_idx_images(path, split)
    try:
        is_archive = zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except DAMAGED as error:
        raise ValueError(f"'{path}' is no whole zip or tar archive: {error}") from None
    if is_archive:
        return arrays.read_cifar(path, split) if arrays.is_cifar(path) else ArchiveReader(path)
    if path.suffix in (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2"):
        return ArchiveReader(path)  # damaged: it says so
    raise ValueError(f"'{path}' is none of the known forms; data may be {FORMS}")
