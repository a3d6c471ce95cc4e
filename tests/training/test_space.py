"""The space of a run is known before it begins, from the sizes of its own state."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import ddgan
from ddgan import RunConfig
from ddgan.models.checkpoint_file import STATE_NAME
from ddgan.system.memory import in_bytes
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.space import ADAMS, check_space, checkpoint_bytes, moments_of, weights_bytes
from steps import changed, fresh
from tiny import POINTS_SHAPE


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [
        ({"kind": "adam"}, 2),
        ({"kind": "adamw"}, 2),
        ({"kind": "sgd", "lr": 0.01}, 1),
        ({"kind": "sgd", "lr": 0.01, "momentum": 0.0}, 0),
    ],
)
def test_a_checkpoint_takes_what_was_foreseen(
    tiny_config: RunConfig, tmp_path: Path, optimizer: dict[str, Any], moments: int
) -> None:
    config = tiny_config.changed(
        {
            "optimization.ema.half_lives": [0.02],
            "optimization.generator": optimizer,
            "generator.base_channels": 32,
            "training.num_iterations": 2,
        }
    )
    assert moments_of(config.optimization.generator) == moments
    state = fresh(config)
    foreseen, weights = checkpoint_bytes(state), weights_bytes(state)
    run = ddgan.train(config, tmp_path / "run", verbose=False).path
    (last,) = Checkpoints(run / "checkpoints").paths()[-1:]
    assert foreseen <= (last / STATE_NAME).stat().st_size < 1.03 * foreseen  # the rest are names
    files = [file.stat().st_size for file in run.glob("model*.safetensors")]
    assert len(files) == 2
    assert weights <= sum(files) + max(files) < 1.03 * weights  # one of them twice, while it is replaced


def test_an_optimizer_that_takes_no_small_parameter_counts_as_adam() -> None:
    class Picky:
        def build(self, parameters: object) -> torch.optim.Optimizer:
            raise ValueError("only convolutions")

    assert moments_of(Picky()) == ADAMS  # type: ignore[arg-type]


def test_too_little_space_is_refused_and_what_may_become_too_little_is_told(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = fresh(tiny_points_config, POINTS_SHAPE)
    checkpoint, weights = checkpoint_bytes(state), weights_bytes(state)
    free = 2 * checkpoint + weights
    asked: list[Path] = []

    def disk_usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(free)

    def told(**training: object) -> list[str]:
        said: list[str] = []
        check_space(state, changed(tiny_points_config, **training).training, run, said.append)
        return said

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    run = tmp_path / "runs" / "mine"
    assert told(keep_last=1) == []
    assert asked == [tmp_path]  # the folder that exists
    (warning,) = told(keep_last=2)
    assert f"3 checkpoints and the weights may take {in_bytes(free + checkpoint)}" in warning
    assert "lower training.keep_last (2)" in warning
    (warning,) = told(keep_last=1, keep_every=2)  # of five iterations
    assert "4 checkpoints" in warning
    assert "raise training.keep_every (2) or set it to 0" in warning
    (warning,) = told(keep_last=1_000_000)
    assert "6 checkpoints" in warning

    free -= 1
    with pytest.raises(ValueError, match=r"/runs/mine', where 126 kB are free, but two checkpoints and the"):
        told(keep_last=1)
    old = run / "checkpoints" / "step-00000000"
    old.mkdir(parents=True)
    (old / STATE_NAME).write_bytes(b"1")  # will be replaced
    assert told(keep_last=1) == []
