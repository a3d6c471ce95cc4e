"""Finds the reference values: one test per .npz file of the folder, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks.plain import plain_path

from reference import helpers

NONE = "none"
"""Stands for the file where there is none, so that the test reports why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`<prefix>_entry` runs over the .npz files of that prefix; `network_entry` over the table's networks."""
    for prefix in helpers.PREFIXES:
        if f"{prefix}_entry" in metafunc.fixturenames:
            found = helpers.entries_with_values(f"{prefix}_")
            metafunc.parametrize(f"{prefix}_entry", found or [NONE])
    if "network_entry" in metafunc.fixturenames:
        found = [entry for entry, description in helpers.table().items() if "tensors" in description]
        metafunc.parametrize("network_entry", found or [NONE])


@pytest.fixture(autouse=True)
def has_values(request: pytest.FixtureRequest) -> None:
    """Fail where the folder holds no values at all; skip where it holds none of this kind."""
    parameters = getattr(request.node, "callspec", None)
    if parameters is None or NONE not in parameters.params.values():
        return
    if not helpers.entries_with_values():
        pytest.fail(f"no reference values (*.npz) in '{helpers.folder()}'")
    pytest.skip(f"{helpers.folder()} has no values of this kind")


@pytest.fixture(params=["ours", "plain"])
def path(request: pytest.FixtureRequest) -> Iterator[None]:
    """Our networks and steps, and those that benchmarks measure them against."""
    if request.param == "ours":
        yield
    else:
        with plain_path():
            yield
