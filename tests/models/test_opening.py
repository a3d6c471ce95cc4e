"""A checkpoint of a run is opened as the run is; which average, and what is none, is told by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.training.checkpoint import FACTS_NAME, STATE_NAME
from ddgan.training.methods import BaselineConfig, train_baseline


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").glob("step-*"))[-1]


def test_a_checkpoint_of_the_end_is_the_run(tiny_run: Run) -> None:
    again = DDGAN.from_pretrained(newest(tiny_run.path))
    assert again.config == tiny_run.model.config
    assert torch.equal(again.sample(3), tiny_run.model.sample(3))
    assert DDGAN.from_pretrained(newest(tiny_run.path) / STATE_NAME).source == again.source


def test_one_on_the_way_is_another_model(tiny_config: RunConfig, tmp_path: Path) -> None:
    optimization = dataclasses.replace(tiny_config.optimization, ema_half_lives=(0.02, 5.0))
    training = dataclasses.replace(tiny_config.training, num_iterations=4, keep_every=2)
    config = dataclasses.replace(tiny_config, optimization=optimization, training=training)
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    early, late = (run.path / "checkpoints" / f"step-{step:08d}" for step in (2, 4))
    assert not torch.equal(DDGAN.from_pretrained(early).sample(3), run.model.sample(3))
    for ema in (None, 0.02, 5.0):
        expected = DDGAN.from_pretrained(run.path, ema=ema).sample(3)
        assert torch.equal(DDGAN.from_pretrained(late, ema=ema).sample(3), expected)
    with pytest.raises(ValueError, match=r"ema is 7, but .* it has 0.02, 5"):
        DDGAN.from_pretrained(late, ema=7.0)


def test_what_is_no_checkpoint_of_ours_is_refused_by_name(
    tiny_config: RunConfig, run_copy: Path, tmp_path: Path
) -> None:
    config = BaselineConfig.like(tiny_config, method="gan")
    other = newest(train_baseline(config, tmp_path / "gan", verbose=False).path)
    with pytest.raises(ValueError, match="no checkpoint of a denoising diffusion GAN"):
        DDGAN.from_pretrained(other)
    (newest(run_copy) / FACTS_NAME).write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        DDGAN.from_pretrained(newest(run_copy))
