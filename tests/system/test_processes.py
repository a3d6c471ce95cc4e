"""Two processes compute what one does, and the death of one is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from given_data import train_on_counted
from gradients import write_gradients
from torch import Tensor
from torch import distributed as dist

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.models.run_folder import read_log
from ddgan.system.processes import Processes
from ddgan.training.checkpoint import STATISTICS, Checkpoints, read_checkpoint
from forked import Forked, forked
from scripted import FLAT_AT_10, Scripted
from steps import untimed
from tiny import TINY_POINTS

STORES: list[dist.TCPStore] = []
"""Where processes find each other; they last, as the launcher's does, whichever process ends first."""


def together(folder: Path, run: Callable[..., int | None], *arguments: object) -> list[Forked]:
    """Start `run(*arguments)` in two processes that find each other, as torchrun would."""
    STORES.append(dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False))
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(STORES[-1].port)}
    place |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    return [
        forked(folder / f"said{rank}", run, *arguments, **place, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank in range(2)
    ]


def finished(processes: list[Forked]) -> list[str]:
    """What they said, once all have ended well."""
    said = [process.ended() for process in processes]
    assert [process.code for process in processes] == [0] * len(said), said
    return said


def gradients(count: int, folder: Path, accumulation: int = 1) -> list[dict[str, Tensor]]:
    """The averaged gradients of two steps, the first with R1 and R2, as each process sees them."""
    if count == 1:
        write_gradients(folder, accumulation)
    else:
        finished(together(folder, write_gradients, folder, accumulation))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return gradients(1, tmp_path_factory.mktemp("alone"))[0]


@pytest.mark.parametrize(("count", "accumulation"), [(2, 1), (1, 2), (2, 2)])
def test_the_gradients_are_those_of_one_process(
    alone: dict[str, Tensor], tmp_path: Path, count: int, accumulation: int
) -> None:
    assert {name[:4] for name in alone} == {"0.d.", "0.g.", "1.d.", "1.g."}
    for seen in gradients(count, tmp_path, accumulation):
        assert seen.keys() == alone.keys()
        for name, gradient in alone.items():
            error = (seen[name] - gradient).abs().max() / gradient.abs().max().clamp_min(1e-12)
            assert error < 1e-6, (name, float(error))


def test_a_run_of_two_processes_ends_as_that_of_one(tiny_config: RunConfig, tmp_path: Path) -> None:
    # The only layer that couples the images of a batch is left out.
    config = tiny_config.changed({"method.discriminators.pair.stddev_group": 0})
    path = tmp_path / "tiny.yaml"
    path.write_text(config.to_yaml())
    command = ["train", "--config", str(path)]
    said = finished(together(tmp_path, main, [*command, "--out", str(tmp_path / "two")]))
    assert "trained after 5 iterations" in said[0]
    assert said[1] == ""  # only the main process speaks
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    one, two = (DDGAN.from_pretrained(tmp_path / name).sample(4) for name in ("one", "two"))
    torch.testing.assert_close(two, one, atol=1e-3, rtol=0)


def test_two_processes_that_were_interrupted_log_what_they_would_have_logged(
    tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    """Stopped by a signal in the middle of an interval of the log, of which each has half."""
    config = tiny_points_config.changed({"training.num_iterations": 300, "training.log_every": 299})
    path = tmp_path / "tiny.yaml"
    path.write_text(config.to_yaml())
    command = ["train", "--config", str(path)]
    finished(together(tmp_path, main, [*command, "--out", str(tmp_path / "whole")]))
    run = tmp_path / "run"
    processes = together(tmp_path, main, [*command, "--out", str(run), "--training.keep_every", "1"])
    wait_until(lambda: len(Checkpoints(run / "checkpoints").paths()) > 3, processes)
    for process in processes:
        process.process.terminate()
    said = [process.ended() for process in processes]
    assert "stopped by SIGTERM" in said[0], said
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert 3 <= newest.metadata["step"] < 299
    assert all(len(rows) == 2 for rows in newest.weights(STATISTICS).values())
    finished(together(tmp_path, main, ["train", "--resume", str(run)]))
    assert [dict(record)["step"] for record in untimed(run)] == [299, 300]
    assert untimed(run) == untimed(tmp_path / "whole")


def test_data_from_python_is_read_by_the_main_process(tiny_config: RunConfig, tmp_path: Path) -> None:
    # The only layer that couples the images of a batch is left out.
    config = tiny_config.changed({"method.discriminators.pair.stddev_group": 0})
    path, cache = tmp_path / "tiny.yaml", str(tmp_path / "cache")
    path.write_text(config.to_yaml())
    arguments = train_on_counted, str(path), str(tmp_path / "two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDGAN_CACHE", cache)
        said = finished(together(tmp_path, *arguments))
    assert "data: 40 images of shape (3, 8, 8), 3 classes: Counted of uint8" in said[0]
    assert f"reads: {40 + 2 * 32 + 1} of rank 0" in said[0]
    assert said[1] == "reads: 0 of rank 1\n"
    assert train_on_counted(str(path), str(tmp_path / "one")) == 0
    one, two = (DDGAN.from_pretrained(tmp_path / name).sample(4) for name in ("one", "two"))
    torch.testing.assert_close(two, one, atol=1e-3, rtol=0)


def test_a_batch_that_cannot_be_shared_is_refused(tiny_yaml: str, tmp_path: Path) -> None:
    command = ["train", "--config", tiny_yaml, "--out", str(tmp_path / "run"), "--training.batch_size", "7"]
    processes = together(tmp_path, main, command)
    said = [process.ended() for process in processes]
    assert [process.code for process in processes] == [2, 2]
    assert all("batch_size is 7, which 2 processes" in text for text in said)
    assert not (tmp_path / "run").exists()


def test_a_dead_worker_ends_the_run_with_a_word_and_its_checkpoints(tiny_yaml: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["--training.num_iterations", "100000", "--training.keep_every", "1"]
    processes = together(tmp_path, main, ["train", "--config", tiny_yaml, "--out", str(run), *settings])
    wait_until(lambda: len(Checkpoints(run / "checkpoints").paths()) > 3, processes)
    processes[1].kill()
    said = processes[0].ended()
    assert processes[0].code == 1, said
    assert "another process of this run has died" in said.splitlines()[-1]
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert read_checkpoint(newest.path).metadata["step"] >= 3


def wait_until(done: Callable[[], bool], processes: list[Forked], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        assert all(process.code is None for process in processes), finished(processes)
        time.sleep(0.05)


def test_one_process_is_left_alone() -> None:
    assert Processes(torch.device("cpu")).from_main("text") == "text"
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


def train_until_flat(run: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Scripted(FLAT_AT_10).install(patch)
        settings = {
            "num_iterations": 14,
            "score_every": 1,
            "score_samples": 40,
            "stop_when": "flat",
            "log_every": 1,
        }
        config = RunConfig.from_dict(TINY_POINTS).changed({f"training.{k}": v for k, v in settings.items()})
        found = ddgan.train(config, run, verbose=False)
        print("interrupted" if found.interrupted else "whole")


def test_processes_stop_together_once_the_scores_are_flat(tmp_path: Path) -> None:
    said = finished(together(tmp_path, train_until_flat, tmp_path / "run"))
    assert all("whole" in one for one in said)
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["step"] == 10
