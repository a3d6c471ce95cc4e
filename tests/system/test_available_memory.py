"""Memory that is there, and memory that is counted: against storages that are really allocated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ddgan.system import memory
from ddgan.system.memory import MemoryMeter, available_memory, check_allocation, in_bytes, taken_on

CPU = torch.device("cpu")


def test_bytes_are_said_with_a_unit() -> None:
    said = [in_bytes(count) for count in (0, 999, 1000, 2_420_000_000, 999_000_000, 5e12, 4.8e15)]
    assert said == ["0 bytes", "999 bytes", "1 kB", "2.42 GB", "999 MB", "5 TB", "4,800 TB"]


def test_the_meter_counts_what_lives_and_remembers_the_most() -> None:
    with MemoryMeter() as meter:
        x = torch.empty(1000, device="meta")
        view = x[:10].reshape(2, 5)  # of the same storage
        assert meter.now == 4000
        y = x + 1
        assert meter.now == 8000
        x = view = torch.empty(1, device="meta", dtype=torch.float64)
        assert meter.now == 4008
        y.add_(1)
        assert (meter.now, meter.peak) == (4008, 8008)
        del x, y, view
    assert meter.now == 0


def test_what_was_there_and_what_is_elsewhere_do_not_count() -> None:
    weight = torch.empty(100, 100, device="meta")
    with MemoryMeter([weight]) as meter:
        weight.view(-1).detach().add_(1)
        torch.zeros(1000)
        assert meter.peak == 0


def test_a_forward_and_backward_pass_are_counted_in_closed_form() -> None:
    """x, and tanh(x W^T) which the backward pass needs; then the gradients."""
    layer = nn.Linear(300, 300, bias=False, device="meta")
    with MemoryMeter(layer.parameters()) as meter:
        x = torch.empty(50, 300, device="meta")
        y = torch.tanh(layer(x))
        assert meter.now == 2 * 50 * 300 * 4  # the sum before tanh is not kept
        assert meter.peak == 3 * 50 * 300 * 4
        y.sum().backward()
        del x, y
        assert meter.now == 300 * 300 * 4
        layer.zero_grad(set_to_none=True)
        assert meter.now == 0


def chain(recomputed: bool) -> int:
    layers = [
        nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()).to("meta")
        for _ in range(20)
    ]
    with MemoryMeter([p for layer in layers for p in layer.parameters()]) as meter:
        h = torch.empty(1000, 64, device="meta")
        for layer in layers:
            h = (
                checkpoint(layer, h, use_reentrant=False, preserve_rng_state=False)
                if recomputed
                else layer(h)
            )
        kept = meter.now
        h.sum().backward()
    assert meter.peak >= kept
    return kept


def test_recomputation_keeps_only_the_inputs_of_blocks() -> None:
    size = 1000 * 64 * 4
    assert chain(recomputed=True) == 21 * size
    assert chain(recomputed=False) == 41 * size


def test_an_allocator_takes_more_than_the_tensors() -> None:
    on_cpu, on_gpu = taken_on(CPU), taken_on(torch.device("cuda"))
    rows, maps = torch.empty(512, 512, device="meta"), torch.empty(512, 2, 16, 16, device="meta")
    large = torch.empty(512, 64, 32, 32, device="meta")
    assert 2**20 < on_gpu(maps) < on_cpu(maps)
    assert 2**20 < on_cpu(rows) < on_cpu(maps)
    assert 2**27 < on_cpu(large) < 2**27 * on_cpu(rows) / 2**20
    with MemoryMeter(taken=on_cpu) as meter:
        x = torch.empty(512, 2, 16, 16, device="meta")
        assert meter.now == on_cpu(maps)
        del x
    assert meter.now == 0


def group(folder: Path, limit: str, current: int, cached: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_limits_of_control_groups_are_found_up_to_the_root(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/jobs/mine\n")
    group(tmp_path / "fs", "max", 0, 0)
    group(tmp_path / "fs/jobs", "9000", 5000, 1000)
    group(tmp_path / "fs/jobs/mine", "4000", 3900, 100)
    assert list(memory._left_in_groups(tmp_path / "fs", own)) == [200, 5000]
    own.write_text("0::/elsewhere\n")  # a container sees only its own, as the root
    group(tmp_path / "fs", "700", 100, 0)
    assert list(memory._left_in_groups(tmp_path / "fs", own)) == [600]
    assert list(memory._left_in_groups(tmp_path / "fs", tmp_path / "none")) == []


def test_limits_of_version_1(tmp_path: Path) -> None:
    own, folder = tmp_path / "cgroup", tmp_path / "fs/memory/job"
    own.write_text("5:cpu:/job\n4:memory:/job\n")
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("1000")
    (folder / "memory.usage_in_bytes").write_text("400")
    (folder / "memory.stat").write_text("total_inactive_file 50\n")
    assert list(memory._left_in_groups(tmp_path / "fs", own)) == [650]
    (folder / "memory.limit_in_bytes").write_text(str(2**63 - 4096))  # none
    assert list(memory._left_in_groups(tmp_path / "fs", own)) == []


def test_there_is_some_memory_on_this_machine() -> None:
    psutil = pytest.importorskip("psutil")
    found = available_memory(CPU)
    assert found is not None
    assert 0 < found <= psutil.virtual_memory().total
    assert available_memory(torch.device("meta")) is None


def test_an_allocation_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 10**9)
    check_allocation(10**9, "n is 5: so many samples", "use fewer", CPU)
    with pytest.raises(
        ValueError,
        match=r"^n is 5: so many samples take about 2 GB, more than the 1 GB of cpu memory .*; use fewer$",
    ):
        check_allocation(2 * 10**9, "n is 5: so many samples", "use fewer", CPU)
