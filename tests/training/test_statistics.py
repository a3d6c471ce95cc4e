"""Statistics per t, and the log file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ddgan.models.run_folder import read_log
from ddgan.training.statistics import JsonLines, StatisticsMeter, rewind_log


def test_the_meter_averages_overall_and_per_t() -> None:
    meter = StatisticsMeter(3)
    meter.add(
        {
            "discriminator": {"t": torch.tensor([1, 1, 3]), "loss_d": torch.tensor([1.0, 3.0, 8.0])},
            "generator": {"t": torch.tensor([3, 3, 3]), "loss_g": torch.tensor([1.0, 2.0, 3.0])},
            "iteration": {"skipped": torch.tensor(2.0)},
        }
    )
    meter.add({"discriminator": {"t": torch.tensor([3]), "loss_d": torch.tensor([4.0])}})
    means = meter.read()
    assert means["loss_d"] == pytest.approx(4.0)
    assert means["loss_d_by_t"] == [pytest.approx(2.0), None, pytest.approx(6.0)]
    assert means["loss_g_by_t"] == [None, None, pytest.approx(2.0)]
    assert means["skipped"] == 2.0
    assert means.keys() == {"loss_d", "loss_d_by_t", "loss_g", "loss_g_by_t", "skipped"}


def test_an_update_that_tells_no_t_is_averaged_overall_alone() -> None:
    meter = StatisticsMeter(4)
    meter.add({"generator": {"loss_g": torch.tensor([1.0, 3.0])}})
    assert meter.read() == {"loss_g": 2.0}


def test_reading_resets_the_meter() -> None:
    meter = StatisticsMeter(1)
    t = torch.tensor([1])
    meter.add({"discriminator": {"t": t, "loss_d": torch.tensor([5.0])}})
    meter.read()
    assert meter.read() == {}
    meter.add({"discriminator": {"t": t, "loss_d": torch.tensor([7.0])}})
    assert meter.read() == {"loss_d": 7.0, "loss_d_by_t": [7.0]}


def test_damaged_lines_of_a_log_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = [json.dumps({"step": step, "loss": 0.5}) for step in range(1, 5)]
    bad = [
        "5",
        "[1]",
        '{"stfp": 3}',
        '{"step": true}',
        '{"step": 2.0}',
        '{"step": 2, "lo',
        "[" * 100_000,
        "\xff",
    ]
    lines = [good[0], *bad[:4], good[1], *bad[4:], good[2], "", good[3]]
    path.write_bytes("\n".join(lines).encode("latin-1") + b'\n{"step": 5, "lo')  # killed while it wrote
    found: list[str] = []
    assert [record["step"] for record in read_log(path, found.append)] == [1, 2, 3, 4]
    assert len(found) == len(bad)
    assert rewind_log(path, 3) == len(bad)
    assert path.read_text() == "".join(line + "\n" for line in good[:3])
    assert rewind_log(path, 3) == 0


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.write({"step": 1, "loss": None})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1, "loss": None}]
    log.write({"step": 2, "loss": 0.5})
    log.close()
    assert [record["step"] for record in read_log(tmp_path / "log.jsonl")] == [1, 2]
