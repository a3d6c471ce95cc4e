"""Components: whatever a YAML chooses by `kind`, registered by (slot, kind).

    @register("generator", "mine")
    class MyGeneratorConfig:
        width: int = 64

        def build(self, sample_shape, conditions):
            return MyGenerator(self, sample_shape)

A class becomes checked settings (see `settings`) that build what they describe, and `generator: {kind: mine,
width: 32}` finds it. What comes with ddgan is found by importing the modules of the slot's room, so that a
new kind is one new file. A package from outside registers in the same way; it is imported by its user, by
`ddgan --import PACKAGE`, or, if a kind is unknown, by its entry point in the group `ddgan.components`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from pkgutil import iter_modules
from typing import Any, TypeVar, dataclass_transform

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ddgan.config.settings import SettingError, settings, shown

__all__ = ["Component", "default", "find", "kinds", "register"]

ROOMS = {
    "schedule": "ddgan.diffusion",
    "adversarial": "ddgan.losses",
    "penalty": "ddgan.losses",
    "reconstruction": "ddgan.losses",
    "generator": "ddgan.networks",
    "discriminator": "ddgan.networks",
    "data": "ddgan.data",
    "augmentation": "ddgan.data",
    "optimizer": "ddgan.training.optimizers",
    "method": "ddgan.training.methods",
    "features": "ddgan.metrics",
    "metric": "ddgan.metrics",
}
"""For each slot, the package whose modules hold the kinds that come with ddgan."""
ENTRY_POINTS = "ddgan.components"
_registered: dict[tuple[str, str], type] = {}
_searched: set[str] = set()
C = TypeVar("C")


@dataclass_transform(frozen_default=True)
def register(slot: str, kind: str) -> Callable[[type[C]], type[C]]:
    """Make a class the settings of a new kind of component.

    Args:
        slot: what it can be chosen for: one of the names in `ROOMS`.
        kind: what a configuration calls it.

    Returns:
        A decorator. The class becomes a frozen dataclass of checked settings with `slot` and `kind`.

    Raises:
        ValueError: if there is no such slot, or another class has this kind already.
    """
    if slot not in ROOMS:
        raise ValueError(f"slot is {shown(slot)}; it must be one of {', '.join(ROOMS)}")

    def added(cls: type[C]) -> type[C]:
        known = _registered.get((slot, kind))
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"{slot} {kind!r} is registered twice: by {known.__module__}.{known.__qualname__} and by "
                f"{cls.__module__}.{cls.__qualname__}; give one of them another kind"
            )
        checked: Any = settings(cls)
        checked.slot, checked.kind = slot, kind
        _registered[slot, kind] = checked
        component: type[C] = checked
        return component

    return added


def kinds(slot: str) -> list[str]:
    """The kinds of a slot, those of installed packages with entry points included, sorted."""
    _search(slot)
    _search_entry_points()
    return sorted(kind for place, kind in _registered if place == slot)


def find(slot: str, kind: Any) -> type:
    """The class of a kind.

    Raises:
        SettingError: naming the kinds that there are.
    """
    _search(slot)
    if isinstance(kind, str) and (slot, kind) not in _registered:
        _search_entry_points()
    if not isinstance(kind, str) or (slot, kind) not in _registered:
        raise SettingError(
            "kind",
            f"is {shown(kind)}, which is not a {slot} that is known here; it must be one of "
            f"{', '.join(kinds(slot))} (a package that adds another is named by --import PACKAGE, or "
            "imported before)",
        )
    return _registered[slot, kind]


def _search(slot: str) -> None:
    """Import the modules in which the kinds of a slot that come with ddgan are registered."""
    if (room := ROOMS[slot]) in _searched:
        return
    _searched.add(room)
    package = import_module(room)
    for module in iter_modules(getattr(package, "__path__", [])):
        if not module.ispkg:
            import_module(f"{room}.{module.name}")


def _search_entry_points() -> None:
    """Import the packages that declare themselves."""
    if ENTRY_POINTS in _searched:
        return
    _searched.add(ENTRY_POINTS)
    for point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:  # a broken package says itself what is wrong with it
            raise ValueError(
                f"the entry point {point.name} of the group {ENTRY_POINTS} cannot be loaded: {error}; mend "
                "or uninstall its package"
            ) from error


def make(slot: str, given: Any) -> Any:
    """A component from what a configuration says: itself, a mapping with `kind`, or a kind alone.

    Raises:
        SettingError: if it is none of these, or does not fit the settings of its kind.
    """
    if getattr(type(given), "slot", None) == slot:
        return given
    if isinstance(given, str):
        given = SHORTHANDS[slot](given) if slot in SHORTHANDS else {"kind": given}
    if not isinstance(given, Mapping):
        raise SettingError("", f"is {shown(given)}; it must be a kind of {slot}, or a mapping with kind")
    if "kind" not in given:
        raise SettingError("kind", f"is missing; it must be one of {', '.join(kinds(slot))}")
    values = {name: value for name, value in given.items() if name != "kind"}
    return find(slot, given["kind"])(**values)


SLOT = "x-slot"
"""Stands in a JSON schema for any component of a slot, see `schema`."""
SHORTHANDS: dict[str, Callable[[str], Mapping[str, Any]]] = {}
"""What a plain text stands for, in slots where that is more than a kind."""


@dataclasses.dataclass(frozen=True)
class Component:
    """Marks the type of a field as a component: `Annotated[GeneratorConfig, Component("generator")]`."""

    slot: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._made, metadata={"pydantic_js_functions": [lambda schema, handler: {SLOT: self.slot}]}
        )

    def _made(self, given: Any) -> Any:
        return make(self.slot, given)


def default(slot: str, kind: str, **values: Any) -> Any:
    """A field's default: a component of this kind, looked up when it is needed."""
    return dataclasses.field(default_factory=lambda: find(slot, kind)(**values))
