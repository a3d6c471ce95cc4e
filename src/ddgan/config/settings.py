"""Settings: frozen dataclasses whose values are checked the same way from Python, YAML and the command line.

    @settings
    class PenaltyConfig:
        gamma: Annotated[float, Interval(gt=0, le=1e6)] = 0.02

Types are strict (a bool is not a number, NaN is rejected; a list is accepted for a tuple), ranges are part of
the types, and every error is one line that names the setting, the value and the rule.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache, wraps
from typing import Any, TypeVar, dataclass_transform

from annotated_types import Interval
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import CoreSchema, ErrorDetails, core_schema

__all__ = ["Interval", "SettingError", "settings"]

CHECKED = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
RULES = {
    "missing": "it has no default; give it a value",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "int_parsing_size": "it must be a smaller whole number",
    "float_type": "it must be a number",
    "bool_type": "it must be true or false",
    "string_type": "it must be text",
    "tuple_type": "it must be a list",
    "dict_type": "it must be a mapping",
    "finite_number": "it must be finite",
    "greater_than": "it must be above {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be below {lt}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be one of {expected}",
    "too_short": "it must have at least {min_length} entries",
    "too_long": "it must have at most {max_length} entries",
    "dataclass_type": "it must be a mapping of settings",
}
"""Our messages for pydantic's types of errors."""
SHOWN = 60
"""Largest number of characters of an invalid value in an error."""
SETTINGS = "x-settings"
"""Key of the placeholder for a settings class in a JSON schema, see `schema`."""
C = TypeVar("C")


class SettingError(ValueError):
    """An invalid setting.

    Args:
        name: its dotted name; empty if several settings contradict each other.
        problem: the problem: "is 0; it must be at least 1", or with `is_sentence` a whole sentence.
        is_sentence: whether `problem` is a whole sentence.
        meant: a suggested setting, if any.
    """

    def __init__(self, name: str, problem: str, *, is_sentence: bool = False, meant: str = "") -> None:
        self.name, self.problem, self.is_sentence, self.meant = name, problem, is_sentence, meant
        between = ": " if is_sentence else " "
        hint = f"; did you mean {meant}?" if meant else ""
        super().__init__((f"{name}{between}{problem}" if name else problem) + hint)

    def within(self, section: str) -> SettingError:
        """Return the error with the name prefixed by `section`."""
        name = ".".join(filter(None, (section, self.name)))
        meant = f"{section}.{self.meant}" if self.meant else ""
        return SettingError(name, self.problem, is_sentence=self.is_sentence, meant=meant)


@dataclass_transform(frozen_default=True)
def settings(cls: type[C]) -> type[C]:
    """Turn a class of annotated fields into a frozen dataclass that checks its values.

    Creating an instance raises a SettingError, a one-line ValueError, for an unknown name, a wrong type or a
    broken range.
    """
    # While this class is built, pydantic must see its fields, not the schema that a base class sets below.
    cls.__get_pydantic_core_schema__ = lambda source, handler: handler(source)  # type: ignore[attr-defined]
    checked: Any = checked_dataclass(frozen=True, config=CHECKED)(cls)
    check = checked.__init__

    @wraps(check)
    def made(self: Any, /, *values: Any, **named: Any) -> None:
        known = [f.name for f in dataclasses.fields(checked)]
        if unknown := [name for name in named if name not in known]:
            raise unknown_name(unknown[0], known)
        if len(values) <= len(known) and not set(known[: len(values)]) & named.keys():
            values, named = (), dict(zip(known, values, strict=False)) | named  # so that errors name them
        try:
            check(self, *map(_tuples, values), **{name: _tuples(value) for name, value in named.items()})
        except ValidationError as error:
            raise _first(error.errors(include_url=False)) from None
        except RecursionError:
            raise SettingError("", "a setting is nested too deeply", is_sentence=True) from None

    checked.__init__ = made
    # As a field of other settings, the class accepts an instance or a mapping of its settings.
    checked.__get_pydantic_core_schema__ = lambda source, handler: plain_validator(checked)
    settings_class: type[C] = checked
    return settings_class


def plain_validator(cls: type) -> CoreSchema:
    """Return pydantic's schema for a field whose type is a settings class."""

    def made(given: Any) -> Any:
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise SettingError("", f"is {shown(given)}; it must be a mapping of settings")
        check_names(given)
        return cls(**given)

    return core_schema.no_info_plain_validator_function(
        made, metadata={"pydantic_js_functions": [lambda schema, handler: {SETTINGS: cls}]}
    )


def check_names(given: Mapping[Any, Any]) -> None:
    """Check that the names of settings are strings.

    Raises:
        SettingError: if one is not.
    """
    if strange := [name for name in given if not isinstance(name, str)]:
        raise SettingError("", f"has a setting {shown(strange[0])}; the name must be a string")


def _tuples(value: Any) -> Any:
    """Convert lists, as read from YAML and JSON, to tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def unknown_name(name: str, known: Iterable[str]) -> SettingError:
    """Return the error for a setting that does not exist."""
    known = list(known)
    if near := difflib.get_close_matches(name, known, 1, 0.6):
        return SettingError(name, "is not a setting", meant=near[0])
    names = f"the settings are {', '.join(known)}" if known else "there are no settings here"
    return SettingError(name, f"is not a setting; {names}")


def _first(errors: list[ErrorDetails]) -> SettingError:
    """Convert the first of pydantic's errors; errors of the members of a union become one."""
    names = [".".join(str(part) for part in error["loc"] if not _is_type_name(part)) for error in errors]
    name = max(names, key=len) if len(errors[0]["loc"]) > 1 else names[0]
    selected = [error for error, its_name in zip(errors, names, strict=True) if its_name == name]
    if len(selected) > 1 and not isinstance(selected[0]["input"], Mapping):  # a number, or settings of a ramp
        selected = [error for error in selected if error["type"] != "value_error"] or selected
    for error in selected:
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, SettingError):
            return cause.within(name)
        if isinstance(cause, ValueError):
            return SettingError(name, str(cause), is_sentence=True)
    if selected[0]["type"] == "missing":
        return SettingError(name, f"is missing; {RULES['missing']}")
    rules = [_rule(error) for error in selected]
    rule = rules[0] + "".join(f", or {rule.removeprefix('it must be ')}" for rule in dict.fromkeys(rules[1:]))
    return SettingError(name, f"is {shown(selected[0]['input'])}; {rule}")


def _rule(error: ErrorDetails) -> str:
    """Return the rule that a setting breaks."""
    limits = {name: number(limit) for name, limit in error.get("ctx", {}).items()}
    return RULES.get(error["type"], error["msg"]).format(**limits).replace("'", "")


def number(value: Any) -> Any:
    """Format a number for people, such as 1,000,000 or 0.05; anything else is returned unchanged."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return f"{int(value):,}" if float(value).is_integer() and abs(value) < 2**64 else f"{value:g}"


def _is_type_name(part: Any) -> bool:
    """Whether a part of pydantic's path names a member of a union rather than a setting."""
    return isinstance(part, str) and (not part.isidentifier() or part in ("int", "float", "str", "bool"))


def shown(value: Any) -> str:
    """Format an invalid value for an error, shortened."""
    if isinstance(value, tuple):
        value = list(value)
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def plain(config: Any) -> Any:
    """Convert settings to nested plain values, as YAML and JSON hold them; `kind` comes first."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        kind = getattr(config, "kind", None)
        values = {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
        return ({} if kind is None else {"kind": kind}) | values
    if isinstance(config, Mapping):
        return {name: plain(value) for name, value in config.items()}
    return [plain(value) for value in config] if isinstance(config, list | tuple) else config


@cache
def descriptions(cls: type) -> dict[str, str]:
    """Return the description of each field from the class docstring, under `Args:` or `Attributes:`."""
    described: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        found = re.search(r"\n *(?:Args|Attributes):\n(.*?)(\n *\n|\Z)", one.__doc__ or "", re.S)
        if found is not None:
            entries = re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w|\Z)", found[1] + "\n", re.S | re.M)
            described |= {name: " ".join(words.split()) for name, words in entries}
    return described
