"""The signs of trouble on real runs: seen where the learning rate is far too high, and not otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import ddgan
from ddgan import RunConfig
from ddgan.training.statistics import read_log


def warnings_of(config: RunConfig, run: Path) -> list[str]:
    ddgan.train(config, run, verbose=False)
    return [warning for record in read_log(run / "log.jsonl") for warning in record.get("warnings", ())]


@pytest.mark.slow
def test_a_rate_100_times_too_high_is_warned_of_and_the_healthy_run_is_not(tmp_path: Path) -> None:
    config = RunConfig.load("digits_quick")
    training = dataclasses.replace(config.training, num_iterations=1200, score_samples=0)
    healthy = dataclasses.replace(config, training=training)
    assert warnings_of(healthy, tmp_path / "healthy") == []
    lr_g, lr_d = (100 * getattr(config.optimization, f"{side}_lr") for side in ("generator", "discriminator"))
    optimization = dataclasses.replace(config.optimization, generator_lr=lr_g, discriminator_lr=lr_d)
    training = dataclasses.replace(training, num_iterations=200)
    hot = dataclasses.replace(config, training=training, optimization=optimization)
    assert any(
        "training diverges; lower optimization.generator_lr" in w for w in warnings_of(hot, tmp_path / "hot")
    )
