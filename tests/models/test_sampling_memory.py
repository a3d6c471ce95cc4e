"""What sampling takes is known before it begins: memory for a batch, room on the disk for the output."""

from __future__ import annotations

import math
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.models import model as models
from ddgan.models import sampling_memory
from ddgan.models.sample_store import unfinished
from ddgan.models.sampling_memory import batch_bytes, check_room, check_sampling
from ddgan.system.memory import LIBRARIES, MemoryMeter, taken_on
from tiny import DIGITS_SHAPE, POINTS_SHAPE

CPU = torch.device("cpu")
Usage = namedtuple("Usage", "total used free")


def test_a_batch_takes_what_it_really_takes(model: DDGAN) -> None:
    batch_bytes(model.config, DIGITS_SHAPE, 64)  # fills the caches of resampling, as does the sample
    model.sample(1)
    with torch.no_grad(), MemoryMeter(model.parameters(), taken_on(CPU), "cpu") as meter:
        x, t, z = torch.zeros(64, *DIGITS_SHAPE), torch.ones(64, dtype=torch.int64), torch.zeros(64, 4)
        model.generator(x, t, z)
    assert batch_bytes(model.config, DIGITS_SHAPE, 64) - LIBRARIES == pytest.approx(meter.peak, rel=0.02)


def limit(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    for module in (sampling_memory, models):
        monkeypatch.setattr(module, "available_memory", lambda device: size)


def test_a_batch_that_does_not_fit_is_refused_with_one_that_does(
    tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = batch_bytes(tiny_config, DIGITS_SHAPE, 5000)
    limit(monkeypatch, available)
    check_sampling(tiny_config, DIGITS_SHAPE, 5000, CPU)
    with pytest.raises(
        ValueError, match=r"^batch_size is 10000, with which .*; use at most (\d+) \("
    ) as caught:
        check_sampling(tiny_config, DIGITS_SHAPE, 10_000, CPU)
    most = int(str(caught.value).partition("at most ")[2].split()[0])
    assert 1000 < most <= 5000
    assert batch_bytes(tiny_config, DIGITS_SHAPE, most) <= available


def test_samples_of_which_none_fits_are_refused(
    tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 10**6)
    with pytest.raises(ValueError, match=r"^batch_size is 1, with which .*; use a model of smaller samples$"):
        check_sampling(tiny_config, (3, 2048, 2048), 1, CPU)


def test_the_default_batch_is_smaller_where_there_is_little_memory(
    model: DDGAN, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = model.default_batch_size()
    limit(monkeypatch, 2 * 10**6)
    assert 1 <= model.default_batch_size() < usual
    limit(monkeypatch, 2**60)
    assert model.default_batch_size() == usual


def test_a_number_of_samples_has_a_bound(model: DDGAN) -> None:
    with pytest.raises(ValueError, match=r"^n is 10000000000; it must be at most 1,000,000,000$"):
        next(model.batches(10**10))


@pytest.mark.parametrize(
    ("out", "shape", "least"),
    [
        ("x.npz", DIGITS_SHAPE, 192),
        ("x.npz", POINTS_SHAPE, 8),
        ("x", DIGITS_SHAPE, 4096),
        ("x.png", DIGITS_SHAPE, 48),
    ],
)
def test_room_on_the_disk(
    out: str, shape: tuple[int, ...], least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling_memory.shutil, "disk_usage", lambda path: Usage(0, 0, 1000 * least))
    check_room(1000, shape, tmp_path / "new" / out)
    with pytest.raises(ValueError, match=r"^n is 1,001: so many samples take at least .*; use fewer, or ano"):
        check_room(1001, shape, tmp_path / "new" / out)
    with pytest.raises(ValueError, match=r"^n is 1,000: so many"):
        check_room(1000, shape, tmp_path / "new" / out, stored=True)
    store = unfinished(tmp_path / "new" / out)  # of an interrupted command
    store.mkdir(parents=True)
    (store / "values").write_bytes(bytes(1000 * math.prod(shape) * (4 if shape == POINTS_SHAPE else 1)))
    check_room(1000, shape, tmp_path / "new" / out, stored=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["sample", "RUN", "-n", "1000000000000"],
            "n is 1,000,000,000,000: so many samples take at least 384 TB",
        ),
        (["edit", "RUN", "interpolate", "-n", "1000000000", "--frames", "9"], "samples take at least 432 GB"),
        (
            ["edit", "RUN", "interpolate", "--frames", "1000000000"],
            "--frames is 1000000000; it must be at most",
        ),
        (
            ["edit", "RUN", "inpaint", "--rounds", "1000000000"],
            "--rounds is 1000000000; it must be at most 10000",
        ),
        (
            ["edit", "RUN", "filmstrip", "-n", "100000000"],
            "100,000,000 images are requested, which take about 76.8",
        ),
        (
            ["evaluate", "RUN", "-n", "1000000000000", "--metrics", "frechet", "--features", "pixels"],
            "n is 1,000,",
        ),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_endless_requests_are_one_line(
    arguments: list[str],
    words: str,
    model: DDGAN,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ddgan.system.memory.available_memory", lambda device: 10**10)
    if arguments[2] != "filmstrip":
        monkeypatch.setattr(sampling_memory.shutil, "disk_usage", lambda path: Usage(0, 0, 10**11))
    path = model.save(tmp_path / "model.safetensors")
    out = "x.json" if arguments[0] == "evaluate" else "x.npz" if arguments[0] == "sample" else "x.png"
    command = [str(path) if one == "RUN" else one for one in arguments]
    assert main([*command, "--out", str(tmp_path / out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
