"""The public names are those that docs/api.md promises; see there for the rule."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ddgan

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "public_names.txt"
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def module_names() -> list[str]:
    """All modules whose names, and those of the packages around them, begin with no underscore."""
    source = Path(ddgan.__file__).parent
    found = []
    for path in sorted(source.rglob("*.py")):
        parts = ("ddgan", *path.relative_to(source).with_suffix("").parts)
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            found.append(".".join(parts))
    return found


@cache
def documented() -> list[str]:
    """The modules of the tables in docs/api.md."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(ddgan[\w.]*)` \|", page, re.MULTILINE)


def opened(name: str) -> ModuleType:
    """A module; the test is skipped where a package that it needs is not installed."""
    return importlib.import_module(name) if "export" not in name else pytest.importorskip(name)


def is_callable(value: Any) -> bool:
    """Whether it is a class or a function, and no type alias, which can be called too."""
    return inspect.isclass(value) or inspect.isroutine(value)


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods that a class says itself; its properties may be told of in its own docstring."""
    for name, value in vars(cls).items():
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        if not name.startswith("_") and inspect.isfunction(value):
            yield name, getattr(cls, name)


@pytest.mark.parametrize("name", module_names())
def test_a_module_says_which_names_are_for_others(name: str) -> None:
    module = opened(name)
    names = module.__all__
    assert sorted(names) == sorted(set(names))
    assert [one for one in names if one.startswith("_") and one != "__version__"] == []
    for one in names:
        value = getattr(module, one)  # which is there
        if not is_callable(value):
            continue
        doc = value.__doc__ or ""
        assert doc.strip(), f"{name}.{one} has no docstring"
        assert not doc.startswith(f"{one}("), f"{name}.{one} has the docstring that dataclasses make"
        try:
            signature = str(inspect.signature(value))
        except ValueError:  # of a type that is not written in Python
            continue
        assert not ADDRESS.search(signature), f"{name}.{one}{signature}"


@pytest.mark.parametrize("name", documented())
def test_help_on_what_is_promised_is_whole_and_readable(name: str) -> None:
    module = opened(name)
    for one in module.__all__:
        value = getattr(module, one)
        if not is_callable(value):
            continue
        assert not ADDRESS.search(pydoc.render_doc(value, renderer=pydoc.plaintext)), f"help({name}.{one})"
        if inspect.isclass(value):
            lacking = [method for method, function in methods(value) if not inspect.getdoc(function)]
            assert lacking == [], f"methods of {name}.{one} without a docstring"


def test_the_public_names_are_those_of_the_list() -> None:
    names = sorted(f"{module}.{name}" for module in documented() for name in opened(module).__all__)
    listed = LIST.read_text(encoding="utf-8").split()
    added, removed = sorted(set(names) - set(listed)), sorted(set(listed) - set(names))
    assert (added, removed) == ([], []), (
        f"if this is meant, change {LIST.name}; docs/api.md says what follows"
    )
    assert listed == names, f"{LIST.name} is to be sorted, each name once"


def test_what_the_page_promises_is_there() -> None:
    assert documented()[0] == "ddgan"
    assert len(documented()) == len(set(documented()))
    assert set(documented()) <= set(module_names())


def test_help_that_names_an_address_is_noticed() -> None:
    def shown(done: Any = lambda: None) -> None:
        """Anything."""

    assert ADDRESS.search(pydoc.render_doc(shown, renderer=pydoc.plaintext))
