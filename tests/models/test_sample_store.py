"""Samples on disk while they are made: nothing that was safe is lost, nothing foreign is continued."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddgan import DDGAN
from ddgan.models import sample_store
from ddgan.models.sample_files import save_samples
from ddgan.models.sample_store import open_store
from ddgan.system.images import to_uint8

ASKED: dict[str, Any] = {"n": 10, "seed": 0}


def values(first: int, count: int) -> np.ndarray:
    return np.arange(6 * first, 6 * (first + count), dtype=np.uint8).reshape(count, 1, 2, 3)


def whole(store: sample_store.SampleStore) -> np.ndarray:
    return np.concatenate(list(store.blocks()))


def begun(out: Path, count: int = 4) -> None:
    """Leave a store of `count` samples behind, as Ctrl-C does."""
    with suppress(KeyboardInterrupt), open_store(out, ASKED, (1, 2, 3), np.uint8) as store:
        store.append(values(0, count))
        raise KeyboardInterrupt


def test_an_interrupted_store_continues_and_a_finished_one_is_gone(tmp_path: Path) -> None:
    begun(tmp_path / "x.npz")
    with open_store(tmp_path / "x.npz", ASKED, (1, 2, 3), np.uint8) as store:
        assert store.done == 4
        store.append(values(4, 6))
        store.save()
        np.testing.assert_array_equal(whole(store), values(0, 10))
        assert store.seconds > 0
    assert not list(tmp_path.iterdir())


def test_another_request_begins_anew(tmp_path: Path) -> None:
    begun(tmp_path / "x.npz")
    with open_store(tmp_path / "x.npz", ASKED | {"seed": 1}, (1, 2, 3), np.uint8) as store:
        assert store.done == 0
        assert not list(store.blocks())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_samples_are_never_used(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("store") / "x.npz"
    begun(out)
    file = out.with_name(".x.npz.unfinished") / data.draw(st.sampled_from(["values", "progress.json"]))
    content = bytearray(file.read_bytes())
    place = int(data.draw(st.floats(0, 1, exclude_max=True)) * len(content))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        content = content[:place]
    file.write_bytes(content)
    with open_store(out, ASKED, (1, 2, 3), np.uint8) as store:
        np.testing.assert_array_equal(np.concatenate([values(0, 0), *store.blocks()]), values(0, store.done))


def test_samples_beyond_the_safe_ones_are_dropped(tmp_path: Path) -> None:
    begun(tmp_path / "x.npz")
    with (tmp_path / ".x.npz.unfinished" / "values").open("ab") as file:
        file.write(b"half a sam")  # as a kill leaves it
    with open_store(tmp_path / "x.npz", ASKED, (1, 2, 3), np.uint8) as store:
        store.append(values(4, 1))
        store.save()
        np.testing.assert_array_equal(whole(store), values(0, 5))


def test_two_processes_do_not_make_the_same_output(tmp_path: Path) -> None:
    begun(tmp_path / "x.npz")
    with (
        FileLock(tmp_path / ".x.npz.unfinished" / ".lock"),
        pytest.raises(ValueError, match="which another process is making"),
        open_store(tmp_path / "x.npz", ASKED, (1, 2, 3), np.uint8),
    ):
        pass


@pytest.mark.parametrize("name", ["x.npz", "x.png", "folder"])
def test_interrupted_sampling_equals_sampling_at_once(
    model: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save_samples(model, 10, 3, tmp_path / "once" / name, batch_size=3)
    generate, made = model.generate, list[int]()

    def interrupted(noise: Any, condition: Any) -> Tensor:
        if len(made) == 2:
            raise KeyboardInterrupt
        samples = generate(noise, condition)
        made.append(len(samples))
        return samples

    out = tmp_path / "twice" / name
    with monkeypatch.context() as patch:
        patch.setattr(model, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_samples(model, 10, 3, out, batch_size=3)
    assert not out.exists()
    continued = list[int]()
    record = save_samples(model, 10, 3, out, batch_size=3, on_continue=continued.append)
    assert continued == [sum(made)] == [6]
    assert [file.name for file in out.parent.iterdir() if file.name.startswith(".")] == []
    for ours, theirs in zip(files(out), files(tmp_path / "once" / name), strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    assert record["n"] == 10


def files(out: Path) -> list[Path]:
    return sorted(out.glob("*.png")) if out.is_dir() else [out]


def test_memory_does_not_grow_with_the_number_of_samples(
    model: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is alive at once is one batch, also while the file is written.

    Batches are larger than the lists of freed objects that the interpreter keeps, up to 200 kB, which are
    counted too.
    """
    monkeypatch.setattr(sample_store, "BLOCK", 500 * 192)

    def peak(n: int) -> int:
        tracemalloc.start()
        save_samples(model, n, 0, tmp_path / f"{n}.npz", batch_size=500)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(500)
    few, many = peak(1000), peak(10_000)
    assert many < few + 2 * 500 * 192


def test_numpy_reads_the_same_as_from_savez(model: DDGAN, tmp_path: Path) -> None:
    save_samples(model, 5, 0, tmp_path / "x.npz")
    np.savez(tmp_path / "theirs.npz", images=to_uint8(model.sample(5)))
    with np.load(tmp_path / "x.npz") as ours, np.load(tmp_path / "theirs.npz") as theirs:
        np.testing.assert_array_equal(ours["images"], theirs["images"])
