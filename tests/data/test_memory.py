"""Memory while a source is prepared that is larger than what may be used: peaks are below 1 GB."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forms import idx

pytestmark = pytest.mark.slow

LIMIT = 1e9
SIDE = 100
COUNT = 20_000
"""Of 100 x 100 RGB images: 600 MB."""

WATCHED = """
import json, os, sys, threading, time
import psutil
from ddgan.data.decode import Preparation
from ddgan.data.preparation import prepare

def watch():
    own = psutil.Process()
    while True:
        total = 0
        for process in [own, *own.children(recursive=True)]:
            try:
                info = process.memory_full_info()
                total += info.uss
                peaks["one"] = max(peaks["one"], process.memory_info().rss)
            except psutil.Error:
                pass
        peaks["all"] = max(peaks["all"], total)
        time.sleep(0.05)

peaks = {"one": 0, "all": 0}
threading.Thread(target=watch, daemon=True).start()
prepare(sys.argv[1], sys.argv[2], Preparation(size=int(sys.argv[3])), workers=2)
print(json.dumps(peaks))
"""


def blocks(count: int = COUNT) -> np.ndarray:
    """Noise that does not compress much, the same in each block of 500 images."""
    return np.random.default_rng(0).integers(256, size=(500, SIDE, SIDE, 3), dtype=np.uint8)


def npy(path: Path) -> Path:
    file = np.lib.format.open_memmap(path / "x.npy", mode="w+", dtype=np.uint8, shape=(COUNT, SIDE, SIDE, 3))
    for first in range(0, COUNT, 500):
        file[first : first + 500] = blocks()
    del file
    return path / "x.npy"


def npz(path: Path) -> Path:
    import zipfile

    whole = npy(path)
    with zipfile.ZipFile(path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(whole, "images.npy")
    whole.unlink()
    return path / "x.npz"


def idx_gz(path: Path) -> Path:
    header = idx(np.zeros((0, SIDE, SIDE, 3), np.uint8))[:4]
    shape = b"".join(n.to_bytes(4, "big") for n in (COUNT, SIDE, SIDE, 3))
    with gzip.open(path / "train-images-idx4-ubyte.gz", "wb", compresslevel=1) as file:
        file.write(header + shape)
        for _ in range(0, COUNT, 500):
            file.write(blocks().tobytes())
    return path / "train-images-idx4-ubyte.gz"


def parquet(path: Path) -> Path:
    """One row group of 600 MB, the least kind form."""
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq
    from data_files import png

    images = [png(image) for image in blocks()]
    rows = {"image": [{"bytes": images[i % 500], "path": None} for i in range(COUNT)]}
    pq.write_table(
        pyarrow.table(rows), path / "x.parquet", row_group_size=COUNT, use_dictionary=False, compression=None
    )
    return path / "x.parquet"


def lmdb(path: Path) -> Path:
    lmdb = pytest.importorskip("lmdb")
    from data_files import png

    images = [png(image) for image in blocks()]
    with lmdb.open(str(path / "x.lmdb"), map_size=1 << 30) as environment:
        for first in range(0, COUNT, 500):
            with environment.begin(write=True) as transaction:
                for i in range(first, first + 500):
                    transaction.put(b"%06d" % i, images[i % 500])
    return path / "x.lmdb"


@pytest.mark.parametrize("make", [npy, npz, idx_gz, parquet, lmdb])
@pytest.mark.parametrize("size", [0, 32], ids=["same size", "smaller"])
def test_memory_stays_below_1_gb(make: Callable[[Path], Path], size: int, tmp_path: Path) -> None:
    source = make(tmp_path)
    assert source.stat().st_size > 5e8 or source.is_dir()
    command = [sys.executable, "-c", WATCHED, str(source), str(tmp_path / "out"), str(size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peaks = json.loads(run.stdout)
    print(make.__name__, size, {name: f"{value / 1e6:.0f} MB" for name, value in peaks.items()})
    assert peaks["all"] < LIMIT  # of all processes together, without what they share
    assert peaks["one"] < LIMIT
