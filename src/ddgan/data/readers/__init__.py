"""Readers: one for each form of image data, all with the same interface.

folder, zip, tar    `folders`; `layout` interprets the folders around image files
npy, npz, IDX       `arrays`, read row by row by `stored`
CIFAR-10            `cifar`
parquet, LMDB, Hub  `tables`, `databases`, `huggingface`
stackedmnist:       `stacked`, made from MNIST files
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from ddgan.data.readers import huggingface as hub
from ddgan.data.readers import stacked
from ddgan.data.readers.arrays import is_idx_name, read_idx_images, read_numpy
from ddgan.data.readers.cifar import CIFARReader, is_cifar
from ddgan.data.readers.databases import lmdbs_in, read_lmdbs
from ddgan.data.readers.folders import NO_ARCHIVE, ArchiveReader, FolderReader
from ddgan.data.readers.huggingface import HubReader
from ddgan.data.readers.reader import FirstItems, Item, Reader, reading
from ddgan.data.readers.splits import SPLITS, checked_split
from ddgan.data.readers.stacked import StackedReader
from ddgan.data.readers.tables import ParquetReader

__all__ = ["FORMS", "PREFIXES", "SPLITS", "FirstItems", "Item", "Reader", "open_reader"]

PREFIXES = (hub.PREFIX, stacked.PREFIX)
"""Prefixes of sources that are not paths."""
FORMS = (
    "a folder of images, a zip or tar of one, .npy, .npz, IDX (MNIST), CIFAR-10 batches, LMDB, parquet, "
    "hf:OWNER/NAME, hf:OWNER/NAME:CONFIG or stackedmnist:FOLDER"
)


def open_reader(
    source: str, split: str = "", image_column: str | None = None, label_column: str | None = None
) -> Reader:
    """Return the reader for `source`, detected from its contents.

    Args:
        source: a path, hf:OWNER/NAME, hf:OWNER/NAME:CONFIG, or stackedmnist:FOLDER with the MNIST files.
        split: train, test, validation or all, or any split of a Hub dataset; empty uses train, or everything
            if the source has no splits.
        image_column: column of the images in parquet and Hub sources, instead of the usual names.
        label_column: the same for the labels.

    Raises:
        ValueError: if the source is missing, damaged, of an unknown form, or has no such split.
    """
    if source.startswith(hub.PREFIX):
        return HubReader(source.removeprefix(hub.PREFIX), split, image_column, label_column)
    split = checked_split(split)
    if source.startswith(stacked.PREFIX):
        folder = Path(source.removeprefix(stacked.PREFIX)).expanduser()
        if not folder.is_dir():
            raise ValueError(
                f"'{folder}' is not a folder; after stackedmnist: name the folder with the MNIST files"
            )
        return StackedReader(folder, split)
    path = Path(source).expanduser()
    if not path.exists():
        raise ValueError(f"'{source}' does not exist; data may be {FORMS}")
    if path.is_dir():
        return _open_folder(path, split, image_column, label_column)
    return _open_file(path, split, image_column, label_column)


def _open_folder(path: Path, split: str, image_column: str | None, label_column: str | None) -> Reader:
    if is_cifar(path):
        return CIFARReader(path, split)
    if found := lmdbs_in(path):
        return read_lmdbs(path, found, split)
    if any(is_idx_name(file.name) for file in path.iterdir()):
        return read_idx_images(path, split)
    if any(path.rglob("*.parquet")):
        return ParquetReader(path, split, image_column, label_column)
    return FolderReader(path, split)


def _open_file(path: Path, split: str, image_column: str | None, label_column: str | None) -> Reader:
    if path.suffix in (".npy", ".npz"):
        return read_numpy(path, split)
    if path.suffix == ".parquet":
        return ParquetReader(path, split, image_column, label_column)
    if path.suffix in (".lmdb", ".mdb"):
        return read_lmdbs(path, [path], split)
    if is_idx_name(path.name):
        return read_idx_images(path, split)
    with reading(path, NO_ARCHIVE):
        is_archive = zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
        holds_cifar = is_archive and is_cifar(path)
    if holds_cifar:
        return CIFARReader(path, split)
    if is_archive or path.suffix in (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2"):
        return ArchiveReader(path, split)  # refuses damaged archives
    raise ValueError(f"'{path}' has an unknown form; data may be {FORMS}")
