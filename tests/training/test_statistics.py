"""Statistics per t, and the log file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ddgan.training.statistics import JsonLines, StatisticsMeter, read_log


def test_the_meter_averages_overall_and_per_t() -> None:
    meter = StatisticsMeter(3)
    meter.add(
        {
            "t_d": torch.tensor([1, 1, 3]),
            "t_g": torch.tensor([3, 3, 3]),
            "loss_d": torch.tensor([1.0, 3.0, 8.0]),
            "loss_g": torch.tensor([1.0, 2.0, 3.0]),
        }
    )
    meter.add({"t_d": torch.tensor([3]), "t_g": torch.tensor([1]), "loss_d": torch.tensor([4.0])})
    means = meter.read()
    assert means["loss_d"] == pytest.approx(4.0)
    assert means["loss_d_by_t"] == [pytest.approx(2.0), None, pytest.approx(6.0)]
    assert means["loss_g_by_t"] == [None, None, pytest.approx(2.0)]
    assert not [name for name in means if name.startswith("t_")]


def test_reading_resets_the_meter() -> None:
    meter = StatisticsMeter(1)
    t = torch.tensor([1])
    meter.add({"t_d": t, "t_g": t, "loss_d": torch.tensor([5.0])})
    meter.read()
    assert meter.read() == {}
    meter.add({"t_d": t, "t_g": t, "loss_d": torch.tensor([7.0])})
    assert meter.read()["loss_d"] == 7.0


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.write({"step": 1, "loss": None})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1, "loss": None}]
    log.write({"step": 2, "loss": 0.5})
    log.close()
    assert [record["step"] for record in read_log(tmp_path / "log.jsonl")] == [1, 2]
