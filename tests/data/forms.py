"""Makers of small sources, one for each form in which people keep images."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import CLASSES, LABELS, make_folder, names, png

Maker = Callable[[Path, np.ndarray], str]


def folder(path: Path, pixels: np.ndarray) -> str:
    return str(make_folder(path / "folder", pixels))


def zipped(path: Path, pixels: np.ndarray) -> str:
    with zipfile.ZipFile(path / "x.zip", "w") as archive:
        for name, image in reversed(list(zip(names(pixels), pixels, strict=True))):
            archive.writestr(f"everything/{name}", png(image))
        archive.writestr("__MACOSX/everything/._00.png", b"not an image")
    return str(path / "x.zip")


def tarred(suffix: str, mode: str) -> Maker:
    def make(path: Path, pixels: np.ndarray) -> str:
        with tarfile.open(path / f"x{suffix}", mode) as archive:  # type: ignore[call-overload]
            for name, image in zip(names(pixels), pixels, strict=True):
                data = png(image)
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return str(path / f"x{suffix}")

    return make


def npz(path: Path, pixels: np.ndarray) -> str:
    np.savez(path / "x.npz", images=pixels, labels=LABELS)
    return str(path / "x.npz")


def parquet(path: Path, pixels: np.ndarray) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    (path / "parquet").mkdir()
    for part in (slice(0, 7), slice(7, 12)):
        rows = {
            "image": [{"bytes": png(image), "path": None} for image in pixels[part]],
            "label": LABELS[part].tolist(),
        }
        table = pyarrow.table(rows)
        features = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}
        metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        pq.write_table(
            table.replace_schema_metadata(metadata), path / "parquet" / f"train-{part.start:05d}.parquet"
        )
    return str(path / "parquet")


def hub(path: Path, pixels: np.ndarray) -> str:
    pytest.importorskip("datasets")
    return f"hf:{parquet(path, pixels)}"


def lsun_lmdb(path: Path, pixels: np.ndarray) -> str:
    return lmdb_of(path / "lsun.lmdb", {f"{i:03d}".encode(): png(image) for i, image in enumerate(pixels)})


def raw_lmdb(path: Path, pixels: np.ndarray) -> str:
    entries = {
        str(i).encode(): image.tobytes() for i, image in enumerate(pixels)
    }  # 10 comes after 1 as bytes
    return lmdb_of(path / "raw.lmdb", entries)


def lmdb_of(path: Path, entries: dict[bytes, bytes]) -> str:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return str(path)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_color(path: Path, pixels: np.ndarray) -> str:
    (path / "idx").mkdir()
    (path / "idx" / "train-images-idx4-ubyte").write_bytes(idx(pixels))
    (path / "idx" / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return str(path / "idx")


SOURCES: dict[str, Maker] = {
    "folder": folder,
    "zip": zipped,
    "tar": tarred(".tar", "w"),
    "tar.gz": tarred(".tar.gz", "w:gz"),
    "npz": npz,
    "parquet": parquet,
    "hub": hub,
    "lsun lmdb": lsun_lmdb,
    "raw lmdb": raw_lmdb,
    "idx": idx_color,
}
WITHOUT_LABELS = ("lsun lmdb", "raw lmdb")
WITHOUT_NAMES = (*WITHOUT_LABELS, "npz", "idx")


def cifar(path: Path) -> np.ndarray:
    images = np.random.default_rng(0).integers(256, size=(12, 32, 32, 3), dtype=np.uint8)
    path.mkdir()
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        part = images[2 * i : 2 * i + 2]
        batch = {b"data": part.transpose(0, 3, 1, 2).reshape(2, -1), b"labels": [i, 9 - i]}
        (path / name).write_bytes(pickle.dumps(batch, protocol=2))
    (path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"c%d" % i for i in range(10)]}, 2))
    return images
