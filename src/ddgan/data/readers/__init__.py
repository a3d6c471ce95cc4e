"""Readers: one for each form of image data, all with the same interface.

folder, zip, tar    `folders`; `layout` interprets folders around image files, `metadata` files of labels
npy, npz, IDX       `arrays`, read row by row by `stored`; HDF5 by `hdf5`
CIFAR               `cifar`
parquet, LMDB, Hub  `tables`, `databases`, `huggingface`
stackedmnist:       `stacked`, made from MNIST files
labels              `labels`, in all forms
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from ddgan.data.readers import huggingface as hub
from ddgan.data.readers import stacked
from ddgan.data.readers.arrays import ArrayReader, idx_folder, is_idx_name, read_idx_images, read_numpy
from ddgan.data.readers.cifar import CIFARReader, is_cifar
from ddgan.data.readers.databases import lmdbs_in, read_lmdbs
from ddgan.data.readers.folders import (
    NO_ARCHIVE,
    ArchiveReader,
    FolderReader,
    image_files,
    read_shards,
    shards_in,
)
from ddgan.data.readers.hdf5 import is_hdf5_name, read_hdf5
from ddgan.data.readers.huggingface import HubReader, SavedReader, is_saved
from ddgan.data.readers.reader import FirstItems, Item, JoinedReader, Reader, Wanted, reading
from ddgan.data.readers.splits import SPLITS, checked_split
from ddgan.data.readers.stacked import StackedReader
from ddgan.data.readers.tables import ParquetReader, parquets_in

__all__ = ["FORMS", "PREFIXES", "SPLITS", "FirstItems", "Item", "Reader", "Wanted", "open_reader"]

PREFIXES = (hub.PREFIX, stacked.PREFIX)
"""Prefixes of sources that are not paths."""
FORMS = (
    "a folder of images, a zip or tar of one, a folder of numbered tars (WebDataset), .npy, .npz, HDF5, IDX "
    "(MNIST), CIFAR-10 or CIFAR-100, LMDB, parquet, a folder of save_to_disk, hf:OWNER/NAME, "
    "hf:OWNER/NAME:CONFIG or stackedmnist:FOLDER"
)


def open_reader(source: str, split: str = "", wanted: Wanted | None = None) -> Reader:
    """Return the reader for `source`, detected from its contents.

    Args:
        source: a path, hf:OWNER/NAME, hf:OWNER/NAME:CONFIG, or stackedmnist:FOLDER with the MNIST files.
        split: train, test, validation or all, or any split of a Hub dataset; empty uses train, or everything
            if the source has no splits.
        wanted: how to read it, where its contents do not say it.

    Raises:
        ValueError: if the source is missing, damaged, of an unknown form, or has no such split.
    """
    wanted = wanted or Wanted()
    if source in ("", *PREFIXES):
        raise ValueError(f"the source of images is '{source}', which names none; it may be {FORMS}")
    if source.startswith(hub.PREFIX):
        return HubReader(source.removeprefix(hub.PREFIX), split, wanted)
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
    if not path.is_dir() and not path.is_file():
        raise ValueError(f"'{source}' is a pipe or a device, not a file; data may be {FORMS}")
    reader = _open_folder(path, split, wanted) if path.is_dir() else _open_file(path, split, wanted)
    if wanted.layout != "auto" and not isinstance(reader, ArrayReader | JoinedReader):
        reader.note(f"layout {wanted.layout} has no effect, as '{source}' has no arrays")
    return reader


def _open_folder(path: Path, split: str, wanted: Wanted) -> Reader:
    reader = _special_folder(path, split, wanted)
    if reader is None:
        return FolderReader(path, split, wanted)
    if count := image_files(path):
        reader.note(f"image files in '{path}' that were not read: {count:,}; name their folder")
    return reader


def _special_folder(path: Path, split: str, wanted: Wanted) -> Reader | None:
    """Return the reader of a folder that is not one of image files, or None."""
    if is_cifar(path):
        return CIFARReader(path, split, wanted)
    if is_saved(path):
        return SavedReader(path, split, wanted)
    if found := lmdbs_in(path):
        return read_lmdbs(path, found, split)
    if (idx := idx_folder(path)) is not None:
        return read_idx_images(idx, split, wanted)
    if parquets_in(path):
        return ParquetReader(path, split, wanted)
    if (shards := shards_in(path)) and not image_files(path):
        return read_shards(path, shards, split, wanted)
    return None


def _open_file(path: Path, split: str, wanted: Wanted) -> Reader:
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return read_numpy(path, split, wanted)
    if is_hdf5_name(path.name):
        return read_hdf5(path, split, wanted)
    if suffix == ".parquet":
        return ParquetReader(path, split, wanted)
    if suffix in (".lmdb", ".mdb"):
        return read_lmdbs(path, [path], split)
    if is_idx_name(path.name):
        return read_idx_images(path, split, wanted)
    with reading(path, NO_ARCHIVE):
        is_archive = zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
        holds_cifar = is_archive and is_cifar(path)
    if holds_cifar:
        return CIFARReader(path, split, wanted)
    if is_archive or suffix in (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2"):
        return ArchiveReader(path, split, wanted)  # refuses damaged archives
    raise ValueError(f"'{path}' has an unknown form; data may be {FORMS}")
