"""The rough work and rates that rules depend on, against counted operations and measured iterations."""

from __future__ import annotations

from typing import Any

import pytest

from ddgan import RunConfig
from ddgan.planning.choices import Choices
from ddgan.planning.machine import Machine
from ddgan.planning.work import H200, PER_CORE, Range, images_seen, rates, work_per_image
from ddgan.training.estimate import operations


def choices(size: int, width: int, in_subbands: bool, **others: Any) -> Choices:
    shape = (3, size, size)
    return Choices(shape, False, width, in_subbands, 4, (1e-4, 1e-4), 0.02, 10.0, False, False, 1e6, **others)


@pytest.mark.parametrize(("size", "width", "in_subbands"), [(32, 32, True), (32, 64, False)])
def test_the_formula_is_near_the_counted_operations(size: int, width: int, in_subbands: bool) -> None:
    config = RunConfig.from_dict(choices(size, width, in_subbands).settings())
    counted = operations(config, (3, size, size)) / config.training.batch_size
    assert work_per_image(size, width, in_subbands) == pytest.approx(counted, rel=0.3)


def test_a_gpu_that_was_not_measured_has_a_range() -> None:
    found = {memory: rates(Machine("cuda", memory * 10**9, 1, "bf16", "")) for memory in (8, 24, 80, 141)}
    assert found[141].high == H200
    assert all(one.low < one.middle < one.high for one in found.values())
    assert found[8].middle < found[24].middle < found[80].middle
    assert rates(Machine("cpu", None, 4, "float32", "")) == Range(4 * PER_CORE, 4 * PER_CORE)


def test_images_seen_are_time_by_rate_over_work() -> None:
    machine = Machine("cpu", None, 2, "float32", "")
    assert images_seen(machine, 10, 32, 32, in_subbands=True) == pytest.approx(600 * 2 * PER_CORE / 1e9)
