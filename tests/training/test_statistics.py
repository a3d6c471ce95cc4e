"""Statistics per t, and the log file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ddgan.models.run_folder import read_log
from ddgan.system.processes import Processes
from ddgan.system.seal import sealed
from ddgan.training.statistics import JsonLines, Statistics, StatisticsMeter, rewind_log


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


def some(seed: int, *, penalty: bool) -> Statistics:
    rng = torch.Generator().manual_seed(seed)
    values = {"t": torch.randint(1, 4, (6,), generator=rng), "loss_d": torch.randn(6, generator=rng)}
    values |= {"r1": torch.randn(6, generator=rng)} if penalty else {}
    return {"discriminator": values, "iteration": {"skipped": torch.tensor(float(seed % 2))}}


@pytest.mark.parametrize("cut", range(5))
def test_an_interrupted_interval_goes_on_to_the_bit_and_in_the_same_order(cut: int) -> None:
    meter, other = StatisticsMeter(3), StatisticsMeter(3)
    for seed in range(4):
        if seed == cut:
            meter, kept = StatisticsMeter(3), meter.unfinished()
            meter.restore(dict(reversed(kept.items())))  # a file may have them in any order
        meter.add(some(seed, penalty=seed == 1))
        other.add(some(seed, penalty=seed == 1))
    assert list(meter.read().items()) == list(other.read().items())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_interval_goes_on_with_another_number_of_processes(count: int) -> None:
    """Two processes are interrupted; the sums over all are the same on any number."""
    cpu, alone = torch.device("cpu"), StatisticsMeter(3)
    kept: dict[str, torch.Tensor] = {}
    for rank in range(2):
        meter = StatisticsMeter(3, Processes(cpu, rank, 2))
        meter.add(some(rank, penalty=True))
        alone.add(some(rank, penalty=True))
        for name, rows in meter.unfinished(together=False).items():
            kept[name] = kept.get(name, torch.zeros_like(rows)) + rows  # what is gathered from all
    parts = []
    for rank in range(count):
        meter = StatisticsMeter(3, Processes(cpu, rank, count))
        meter.restore(kept)
        parts.append(meter.unfinished(together=False))
    total = {name: sum(part[name].sum(dim=0) for part in parts) for name in kept}
    for name, value in alone.unfinished().items():
        torch.testing.assert_close(total[name], value[0])


def test_damaged_lines_of_a_log_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = [json.dumps({"step": step, "loss": 0.5}) for step in range(1, 5)]
    bad = [
        "5",
        "[1]",
        '{"stfp": 3}',
        '{"step": true}',
        '{"step": 2.0}',
        json.dumps(sealed({"step": 2, "loss": 0.5})).replace("0.5", "0.4"),
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
    assert path.read_text() == "".join(json.dumps(sealed(json.loads(line))) + "\n" for line in good[:3])
    assert rewind_log(path, 3) == 0


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.write({"step": 1, "loss": None})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1, "loss": None}]
    log.write({"step": 2, "loss": 0.5})
    log.close()
    assert [record["step"] for record in read_log(tmp_path / "log.jsonl")] == [1, 2]
