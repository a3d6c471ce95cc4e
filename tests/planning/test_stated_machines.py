"""Machines: amounts of memory as text, this machine and a stated one."""

from __future__ import annotations

import pytest
import torch

from ddgan.planning.machine import parse_memory, stated_gpu, this_machine


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24GB", 24 * 10**9),
        ("24 gb", 24 * 10**9),
        ("1.5GB", 1_500_000_000),
        ("80GiB", 80 * 2**30),
        ("512MB", 512 * 10**6),
    ],
)
def test_memory_is_a_number_and_a_unit(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize(
    "text", ["", "24", "GB", "-1GB", "0GB", "1e3GB", "24 GBs", "9" * 60 + "GB", "1000000TB"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^memory is .*; it must be "):
        parse_memory(text)


def test_this_machine_has_no_more_memory_than_is_asked_for() -> None:
    machine = this_machine("cpu", 10**6)
    assert (machine.device, machine.memory, machine.is_here) == ("cpu", 10**6, True)
    assert machine.cores == torch.get_num_threads()
    whole = this_machine("cpu").memory
    assert whole is not None
    assert whole > 10**6
    assert "1 MB of memory available" in str(machine)


def test_a_stated_gpu_is_not_here() -> None:
    machine = stated_gpu(24 * 10**9)
    assert (machine.device, machine.precision, machine.is_here) == ("cuda", "bf16", False)
    assert "another machine" in str(machine)
