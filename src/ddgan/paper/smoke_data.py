"""Small files in the formats of the paper's datasets, made from the embedded digits, for scale smoke."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from ddgan.data.digits import load_digits
from ddgan.data.readers.columns import required

__all__ = ["celeba_like", "cifar_like", "lsun_like"]

COUNT = 64


def coloured_digits(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return digits as colour images, uint8 (N, size, size, 3), one colour per class, and their classes."""
    digits, labels = load_digits()
    digits, labels = digits[:count], labels[:count]
    enlarged = np.stack(
        [np.asarray(Image.fromarray(d).resize((size, size), Image.Resampling.BILINEAR)) for d in digits]
    )
    angles = 2 * np.pi * (labels[:, None] / 10 + np.arange(3) / 3)
    colours = 0.6 + 0.4 * np.cos(angles)
    return (enlarged[..., None] * colours[:, None, None]).astype(np.uint8), labels


def cifar_like(folder: Path) -> str:
    """Write CIFAR-10 batches as published: pickled dicts with rows of 3,072 bytes; returns the folder."""
    images, labels = coloured_digits(COUNT, 32)
    folder.mkdir(parents=True, exist_ok=True)
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    for number in range(1, 6):
        part = slice(number - 1, None, 5)
        batch = {b"data": rows[part], b"labels": labels[part].tolist()}
        _write_once(folder / f"data_batch_{number}", pickle.dumps(batch, protocol=2))
    return str(folder)


def celeba_like(folder: Path) -> str:
    """Write an LMDB like the published CelebA-HQ one: raw RGB bytes under decimal keys, but 64 pixels."""
    images, _ = coloured_digits(COUNT, 64)
    return _lmdb(folder, [(str(i).encode(), image.tobytes()) for i, image in enumerate(images)])


def lsun_like(folder: Path) -> str:
    """Write an LMDB like LSUN's: encoded images under arbitrary keys."""
    images, _ = coloured_digits(COUNT, 64)
    values = []
    for index, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "WEBP", quality=95)
        values.append((f"{index * 7919 % 104729:08x}".encode(), buffer.getvalue()))
    return _lmdb(folder, values)


def _write_once(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)


def _lmdb(folder: Path, values: list[tuple[bytes, bytes]]) -> str:
    """Write an LMDB of these values as the split train; returns the folder."""
    lmdb, path = required("lmdb"), folder / "train.lmdb"
    if not (path / "data.mdb").is_file():
        partial = folder / ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with lmdb.open(str(partial), map_size=2**26) as environment, environment.begin(write=True) as put:
            for key, value in values:
                put.put(key, value)
        partial.rename(path)
    return str(folder)
