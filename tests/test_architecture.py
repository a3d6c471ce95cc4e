"""The house: which room may import which, read from the code's own imports; see docs/architecture.md.

Every import counts, also one inside a function or for type checking.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "ddgan"
BASE = {"config.settings", "config.components", "config.ramps"}
"""What everything that can be chosen by a configuration stands on: the base of the room config."""
THEORY = {"diffusion", "losses", "networks"}
MAY_IMPORT: dict[str, set[str]] = {
    "system": set(),
    "base": set(),
    "diffusion": {"base"},
    "losses": {"base"},
    "networks": {"base"},
    "data": {"base", "system", "networks"},
    "config": {"base", "diffusion", "networks"},
    "models": {"base", "system", "diffusion", "networks", "data", "config"},
    "metrics": {"base", "system", "networks", "data", "config", "models"},
    "editing": {"base", "system", "diffusion", "networks", "data", "config", "models"},
    "export": {"base", "system", "diffusion", "networks", "config", "models", "editing"},
    "interop": {"base", "system", "diffusion", "networks", "config", "models", "data"},
    "reports": {"base", "system", "data", "config", "models", "metrics", "editing"},
    "training": {*THEORY, "base", "system", "data", "config", "models", "metrics", "reports"},
    "planning": {"base", "system", "networks", "data", "config", "models", "metrics", "training"},
    "paper": {
        *THEORY,
        *("base", "system", "data", "config", "models", "metrics", "editing", "reports", "training"),
    },
    "cli": {
        *THEORY,
        *("base", "system", "data", "config", "models", "metrics", "editing", "export", "interop"),
        *("reports", "training", "planning", "paper"),
    },
}
"""For each room, the others that it may import."""


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in SOURCE.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """The modules of ddgan that a file imports, by their names without `ddgan.`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "ddgan"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ddgan":
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole.removeprefix("ddgan.") in modules() else node.module or "")
    return {name.removeprefix("ddgan").removeprefix(".") for name in found}


@cache
def imports() -> dict[str, set[str]]:
    return {name: imported(path) for name, path in modules().items()}


def room(module: str) -> str:
    return "base" if module in BASE else module.split(".")[0]


def test_every_room_is_known_and_so_is_every_file() -> None:
    rooms = {room(name) for name in modules()} - {"", "__main__"}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(name: str) -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if room(module) == name and room(other) not in MAY_IMPORT[name] | {name}
    ]
    assert wrong == []


def test_rooms_are_in_no_circle() -> None:
    list(TopologicalSorter(MAY_IMPORT).static_order())  # which complains of one


def test_files_are_in_no_circle() -> None:
    try:
        list(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        pytest.fail(f"these files import each other: {' -> '.join(error.args[1])}")


def test_a_name_occurs_once_in_the_tree() -> None:
    names = Counter(path.name for path in modules().values() if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_fast_kernels_are_met_in_the_layers_alone() -> None:
    users = {
        name for name, others in imports().items() if any(o.startswith("networks.kernels") for o in others)
    }
    assert {name for name in users if not name.startswith("networks.kernels")} == {"networks.layers"}
    users = {name for name, others in imports().items() if "training.cuda_graphs" in others}
    assert users == {"training.trainer", "planning.cost"}  # which measures what the trainer will do


def test_theory_asks_nothing_of_the_machine() -> None:
    """No file, no flag, no device: of the standard library it needs numbers and types."""
    allowed = {
        "__future__",
        "collections",
        "dataclasses",
        "itertools",
        "math",
        "typing",
        "functools",
        "threading",
    }
    allowed |= {"annotated_types", "contextlib", "torch", "ddgan"}
    for name, path in modules().items():
        if room(name) not in THEORY:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {module.split(".")[0] for module in named} <= allowed, (name, named)


def test_the_rules_see_a_breach(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from ddgan.training import trainer\n    import ddgan.paper.store\n")
    assert imported(file) == {"training.trainer", "paper.store"}


WRITERS = {"system.files", "system.outputs"}
IN_PARTIAL_FOLDERS = {
    "cli.internal_error",  # a new file in the temporary folder
    "data.writing",
    "metrics.real_features",
    "models.checkpoint_file",
    "models.sample_files",
    "models.sample_store",  # its own folder, with checksums
    "paper.smoke_data",
    "training.statistics",  # appends to the log
}
"""Modules that write files in a folder that is moved to its place as a whole, unless stated."""


@pytest.mark.parametrize("module", sorted(modules().keys() - WRITERS - IN_PARTIAL_FOLDERS))
def test_outputs_are_written_atomically(module: str) -> None:
    """Files are written by `system.files`, complete or not at all, and not in place."""
    source = modules()[module].read_text(encoding="utf-8")
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
    direct = names & {"write_text", "write_bytes", "savez", "savez_compressed", "tofile", "save_file"}
    assert not direct, f"{module} calls {sorted(direct)}; use ddgan.system.files"
