"""Overrides: settings changed by dotted name, as `--training.batch_size 32` and `**{"training.batch_size":
32}`.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ddgan.config.presets import parse_yaml
from ddgan.config.settings import SettingError, shown

__all__ = ["UnknownSettingError", "dotted", "overridden", "parsed"]

ALIASES = {
    "lr": "optimization.generator.lr and optimization.discriminator.lr",
    "learning_rate": "optimization.generator.lr and optimization.discriminator.lr",
    "epochs": "training.num_iterations, or training.max_images",
    "T": "diffusion.num_steps",
    "steps": "diffusion.num_steps, or training.num_iterations",
    "batch": "training.batch_size",
    "iterations": "training.num_iterations",
    "size": "data.size",
    "image_size": "data.size",
    "resolution": "data.size",
    "image_channels": "data.channels",
    "classes": "conditions.label.classes",
    "num_classes": "conditions.label.classes",
    "gamma": "method.penalties.0.gamma",
    "horizontal_flip": "augmentation",
    "flip": "augmentation",
}
"""Common names of a setting -> the setting."""


class UnknownSettingError(SettingError):
    """A dotted name that is not a setting.

    Args:
        name: the name.
        meant: suggested settings, joined by "or" and "and"; empty for no suggestion.
        sections: the sections of a configuration.
    """

    def __init__(self, name: str, meant: str, sections: list[str]) -> None:
        hint = "" if meant else f"; the sections are {', '.join(sections)}"
        super().__init__(name, f"is not a setting{hint}", meant=meant)

    def said(self, mark: str) -> str:
        """Return the message with a mark before each name, such as the dashes of the command line."""
        marked = re.sub(r"(?<![\w.])(?!and\b|or\b)([A-Za-z_])", rf"{mark}\1", self.meant)
        return str(SettingError(f"{mark}{self.name}", self.problem, meant=marked))


FROM_DATA = {"generator.image_size", "generator.image_channels"}
"""Former settings that are now determined by the data."""


def dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested plain values by dotted name; entries of lists of mappings are numbered."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            for index, entry in enumerate(value):
                yield from dotted(entry, f"{prefix}{name}.{index}.")
        else:
            yield prefix + name, value


def overridden(
    settings: Mapping[str, Any], changes: Mapping[str, Any], sections: list[str]
) -> dict[str, Any]:
    """Return nested plain values with some changed by dotted name.

    Changing the `kind` of a section drops its other settings, which belong to the old kind.

    Args:
        settings: nested plain values, complete.
        changes: dotted name -> plain value.
        sections: the sections of a configuration.

    Raises:
        SettingError: if a name is not a setting, with a suggestion.
    """
    changed = copy.deepcopy(dict(settings))
    known = [name for name, _ in dotted(settings)]
    by_kind = sorted(
        changes.items(), key=lambda change: (not change[0].endswith(".kind"), change[0].count("."))
    )
    for name, value in by_kind:
        head, *rest = name.split(".")
        if head not in sections or "" in rest or name in FROM_DATA:
            raise UnknownSettingError(name, _meant(name, known), sections)
        _put(changed, [head, *rest], value, name)
    return changed


def with_hint(error: SettingError, settings: Mapping[str, Any], changes: Mapping[str, Any]) -> SettingError:
    """Add suggestions from other sections to an error about an unknown setting."""
    if error.meant or error.name not in changes or not error.problem.startswith("is not a setting"):
        return error
    meant = _meant(error.name, [name for name, _ in dotted(settings)])
    return UnknownSettingError(error.name, meant, []) if meant else error


def _put(place: Any, path: list[str], value: Any, name: str) -> None:
    *above, last = path
    for part in above:
        if isinstance(place, list):
            place = place[_index(place, part, name)]
        else:
            if isinstance(place.get(part), str):  # the shorthand of a component
                place[part] = {"kind": place[part]}
            if not isinstance(place.get(part), dict | list):
                place[part] = {}
            place = place[part]
    if isinstance(place, list):
        place[_index(place, last, name)] = value
        return
    if last == "kind" and place.get("kind") != value:
        place.clear()
    place[last] = value


def _index(entries: list[Any], part: str, name: str) -> int:
    if part not in map(str, range(len(entries))):
        raise SettingError(name, f"is not a setting: the list has {len(entries)} entries, numbered from 0")
    return int(part)


def _meant(name: str, known: list[str]) -> str:
    """Suggest settings for a name that is not one; empty if nothing is similar."""
    leaf = name.rpartition(".")[2]
    same = [one for one in known if one.rpartition(".")[2] == leaf or one.endswith(f".{leaf}.kind")]
    if same:
        return " or ".join(same[:3])
    if leaf in ALIASES:
        return ALIASES[leaf]
    near = difflib.get_close_matches(name, known, 1, 0.8) or [
        one for one in known if difflib.get_close_matches(leaf, [one.rpartition(".")[2]], 1, 0.7)
    ]
    return near[0] if near else ""


def parsed(text: str, name: str, config: Any) -> Any:
    """Parse the text of a setting on the command line to a plain value.

    A setting of type str takes the text unchanged; "none" is None for an optional setting.

    Raises:
        ValueError: if the text is not YAML, or is empty.
    """
    kind = _type_of(config, name.split("."))
    if kind is str:
        return text
    if text.strip().lower() in ("none", "null", "~") and type(None) in typing.get_args(kind):
        return None
    value = parse_yaml(text, f"{name} is {shown(text)}, which")
    if value is None:
        raise SettingError(name, "has no value; give it one or leave it out")
    return value


def _type_of(config: Any, path: list[str]) -> Any:
    """Return the type of the setting at this path of a configuration; None if there is no such setting."""
    *above, last = path
    for part in above:
        if isinstance(config, tuple | list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        else:
            config = getattr(config, part, None)
    if not dataclasses.is_dataclass(config):
        return None
    return typing.get_type_hints(type(config)).get(last)
