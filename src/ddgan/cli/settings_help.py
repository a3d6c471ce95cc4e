"""The part of `--help` about settings: names, values, allowed values, and descriptions from docstrings."""

from __future__ import annotations

import dataclasses
import json
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Interval, Len

from ddgan.config.components import Component, kinds
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import descriptions, number, plain

__all__ = ["allowed", "settings_help"]

WIDTH = 100


class Entry(NamedTuple):
    """One setting: a line of help, and the description below it."""

    name: str
    value: str
    allowed: str
    about: str

    def lines(self) -> Iterator[str]:
        """Yield the lines of the entry."""
        among = f"   ({self.allowed})" if self.allowed else ""
        yield f"  {self.name} {self.value}{among}".rstrip()
        yield from textwrap.wrap(self.about, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def settings_help(config: RunConfig) -> str:
    """List every setting of a configuration by dotted name, section by section."""
    about, types_of = descriptions(RunConfig), hints(RunConfig)
    sections = []
    for field in dataclasses.fields(config):
        words, value = about[field.name], getattr(config, field.name)
        entries = _entries(value, field.name, types_of[field.name], "" if _parts(value) else words)
        lines = [line for entry in entries for line in entry.lines()]
        sections.append("\n".join([f"{field.name}: {words}" if _parts(value) else field.name, *lines]))
    return "\n\n".join(sections)


def hints(cls: Any) -> dict[str, Any]:
    """Return the types of the fields of a settings class, including ranges."""
    return typing.get_type_hints(cls, include_extras=True)


def _entries(value: Any, name: str, kind: Any, about: str) -> Iterator[Entry]:
    """Yield the entries of one field and of the settings nested in it."""
    if not (parts := _parts(value)):
        yield Entry(f"--{name}", _shown(value), allowed(kind), about)
    for place, part in parts:
        prefix, slot = f"{name}{place}", getattr(part, "slot", None)
        if slot is not None:
            yield Entry(f"--{prefix}.kind", part.kind, f"one of {', '.join(kinds(slot))}", about)
        elif about:
            yield Entry(f"{prefix}:", "", "", about)
        cls: Any = type(part)
        words, types_of = descriptions(cls), hints(cls)
        for field in dataclasses.fields(part):
            inner = getattr(part, field.name)
            yield from _entries(
                inner, f"{prefix}.{field.name}", types_of[field.name], words.get(field.name, "")
            )


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return the settings nested in a value, with their suffixes of the field's name."""
    if dataclasses.is_dataclass(value):
        return [("", value)]
    if isinstance(value, tuple) and value and all(map(dataclasses.is_dataclass, value)):
        return [(f".{index}", part) for index, part in enumerate(value)]
    if isinstance(value, dict):
        return [(f".{name}", part) for name, part in value.items()]
    return []


def _shown(value: Any) -> str:
    """Format a value as a user would type it."""
    value = plain(value)
    if isinstance(value, str):
        return value or "''"
    return "(none)" if value is None else json.dumps(value)


def allowed(kind: Any) -> str:
    """Describe the values of a type: "whole number from 1 to 64", "one of crop, fit"."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        base, *rules = inside
        for rule in rules:
            if isinstance(rule, Component):
                return f"a kind of {rule.slot}: {', '.join(kinds(rule.slot))}"
            if isinstance(rule, Interval):
                return _range(base, rule)
            if isinstance(rule, Len):
                return _list(base, rule)
        return allowed(base)
    if origin is Literal:
        return f"one of {', '.join(map(str, inside))}"
    if origin in (types.UnionType, typing.Union):
        words = [allowed(one).removeprefix("one of ") for one in inside if one is not type(None)]
        return ", or ".join([*(["none"] if type(None) in inside else []), *words])
    if origin in (tuple, dict):
        return _list(kind, Len())
    if dataclasses.is_dataclass(kind):
        return f"a mapping of {', '.join(field.name for field in dataclasses.fields(kind))}"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(kind, "")


def _range(base: Any, rule: Interval) -> str:
    """Describe a range: the smallest and the largest whole number, or the interval of a float."""
    ge, gt, le, lt = (typing.cast(Any, getattr(rule, name)) for name in ("ge", "gt", "le", "lt"))
    if base is int:
        least = ge if gt is None else gt + 1
        most = le if lt is None else lt - 1
        return f"whole number from {number(least)} to {number(most)}"
    opening = f"[{number(ge)}" if gt is None else f"({number(gt)}"
    closing = f"{number(le)}]" if lt is None else f"{number(lt)})"
    return f"number in {opening}, {closing}"


def _list(base: Any, length: Len) -> str:
    """Describe a list or a mapping, and the values of its entries."""
    inside = typing.get_args(base)
    if typing.get_origin(base) is dict:
        keys = typing.get_args(inside[0]) or ("name",)
        return f"a mapping of {', '.join(map(str, keys))}, each {allowed(inside[1])}"
    least, most = length.min_length, length.max_length
    if inside[-1] is not Ellipsis:
        least = most = len(inside)
    count = "" if most is None else f"{least} " if least == most else f"{least} to {most} "
    return f"list of {count}entries, each {allowed(inside[0])}"
