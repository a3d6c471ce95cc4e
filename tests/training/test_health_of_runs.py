"""The signs of trouble on real runs: seen where the learning rate is far too high, and not otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

import ddgan
from ddgan import RunConfig
from ddgan.models.run_folder import read_log


def warnings_of(config: RunConfig, run: Path) -> list[str]:
    ddgan.train(config, run, verbose=False)
    return [warning for record in read_log(run / "log.jsonl") for warning in record.get("warnings", ())]


@pytest.mark.slow
def test_a_rate_100_times_too_high_is_warned_of_and_the_healthy_run_is_not(tmp_path: Path) -> None:
    config = RunConfig.load("digits_quick")
    healthy = config.changed({"training.num_iterations": 1200, "training.score_samples": 0})
    assert warnings_of(healthy, tmp_path / "healthy") == []
    optimization = config.optimization
    rates = {
        f"optimization.{name}.lr": 100 * getattr(optimization, name).lr
        for name in ("generator", "discriminator")
    }
    hot = healthy.changed({"training.num_iterations": 200} | rates)
    assert any(
        "training diverges; lower optimization.generator.lr" in w for w in warnings_of(hot, tmp_path / "hot")
    )
