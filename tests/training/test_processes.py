"""Two processes compute what one does, and the death of one is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddgan import DDGAN, RunConfig
from ddgan.training.checkpoint import Checkpoints, read_checkpoint
from ddgan.training.processes import Processes

HERE = Path(__file__).parent


def together(count: int, *arguments: str, **options: str) -> list[subprocess.Popen[str]]:
    """Start `python arguments` in `count` processes that find each other, as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common = place | {"OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} | options,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]


def finished(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What they said, once all have ended well."""
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(said), said
    return said


def gradients(count: int, tmp_path: Path, accumulation: int = 1) -> list[dict[str, Tensor]]:
    """The averaged gradients of two steps, the first with R1 and R2, as each process sees them."""
    finished(together(count, str(HERE / "gradients.py"), str(tmp_path), str(accumulation)))
    return [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(count)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return gradients(1, tmp_path_factory.mktemp("alone"))[0]


@pytest.mark.parametrize(("count", "accumulation"), [(2, 1), (1, 2), (2, 2)])
def test_the_gradients_are_those_of_one_process(
    alone: dict[str, Tensor], tmp_path: Path, count: int, accumulation: int
) -> None:
    for seen in gradients(count, tmp_path, accumulation):
        assert seen.keys() == alone.keys()
        for name, gradient in alone.items():
            error = (seen[name] - gradient).abs().max() / gradient.abs().max().clamp_min(1e-12)
            assert error < 1e-6, (name, float(error))


def test_a_run_of_two_processes_ends_as_that_of_one(tiny_config: RunConfig, tmp_path: Path) -> None:
    settings = tiny_config.to_dict()
    settings["discriminator"]["stddev_group"] = 0  # the only layer that couples the images of a batch
    path = tmp_path / "tiny.yaml"
    path.write_text(RunConfig.from_dict(settings).to_yaml())
    command = ("-m", "ddgan", "train", "--config", str(path))
    said = finished(together(2, *command, "--out", str(tmp_path / "two")))
    assert "trained after 5 iterations" in said[0]
    assert said[1] == ""  # only the main process speaks
    finished(together(1, *command, "--out", str(tmp_path / "one")))
    one, two = (DDGAN.from_pretrained(tmp_path / name).sample(4) for name in ("one", "two"))
    torch.testing.assert_close(two, one, atol=1e-3, rtol=0)


def test_a_batch_that_cannot_be_shared_is_refused(tiny_yaml: str, tmp_path: Path) -> None:
    run = ("--out", str(tmp_path / "run"), "--training.batch_size", "7")
    processes = together(2, "-m", "ddgan", "train", "--config", tiny_yaml, *run)
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert all("batch_size is 7, which 2 processes" in text for text in said)
    assert not (tmp_path / "run").exists()


def test_a_dead_worker_ends_the_run_with_a_word_and_its_checkpoints(tiny_yaml: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ("--training.num_iterations", "100000", "--training.keep_every", "1")
    processes = together(2, "-m", "ddgan", "train", "--config", tiny_yaml, "--out", str(run), *settings)
    wait_until(lambda: len(Checkpoints(run / "checkpoints").paths()) > 3, processes)
    processes[1].kill()
    said = processes[0].communicate(timeout=60)[0]
    processes[1].communicate(timeout=60)
    assert processes[0].returncode == 1, said
    assert "another process of this run has died" in said.splitlines()[-1]
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert read_checkpoint(newest.path).facts["step"] >= 3


def wait_until(done: object, processes: list[subprocess.Popen[str]], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        assert all(process.poll() is None for process in processes), finished(processes)
        time.sleep(0.05)


def test_one_process_is_left_alone() -> None:
    alone = Processes(torch.device("cpu"))
    value = torch.tensor([3.0])
    alone.average_([value])
    alone.sum_([value])
    assert value == 3
    assert alone.rows(8) == slice(0, 8)
    assert alone.largest(5) == 5
    assert alone.any(True)
    assert not alone.any(False)
    assert Processes(torch.device("cpu"), 1, 4).rows(8) == slice(2, 4)
