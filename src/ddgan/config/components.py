"""Components: the parts that a configuration chooses by `kind`, registered by (slot, kind).

    @register("generator", "mine")
    class MyGeneratorConfig:
        width: int = 64

        def build(self, sample_shape, conditions):
            return MyGenerator(self, sample_shape)

The class becomes checked settings (see `settings`) that build the component, and `generator: {kind: mine,
width: 32}` selects it. The kinds of ddgan are found by importing all modules of the slot's package, so a new
kind is one new file. Other packages register kinds in the same way; they are imported by the user, by
`ddgan --import PACKAGE`, or, if a kind is unknown, through the entry points of the group `ddgan.components`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from pkgutil import iter_modules
from typing import Any, TypeVar, dataclass_transform

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ddgan.config.settings import SettingError, check_names, settings, shown

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
    """Register a class as the settings of a new kind of component.

    Args:
        slot: the slot of the component: generator, discriminator, adversarial, penalty, reconstruction,
            schedule, method, optimizer, augmentation, data, features or metric.
        kind: its name in configurations.

    Returns:
        A decorator. The class becomes a frozen dataclass of checked settings with `slot` and `kind`.

    Raises:
        ValueError: if there is no such slot, or another class already has this kind.
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
    """Return the kinds of a slot, sorted, including those from entry points of installed packages."""
    _search(slot)
    _search_entry_points()
    return sorted(kind for place, kind in _registered if place == slot)


def find(slot: str, kind: Any) -> type:
    """Return the class of a kind.

    Raises:
        SettingError: if the kind is unknown, listing the known ones.
    """
    _search(slot)
    if isinstance(kind, str) and (slot, kind) not in _registered:
        _search_entry_points()
    if not isinstance(kind, str) or (slot, kind) not in _registered:
        raise SettingError(
            "kind",
            f"is {shown(kind)}, which is not a known kind of {slot}; it must be one of "
            f"{', '.join(kinds(slot))} (for a kind from another package, add --import PACKAGE or import "
            "it first)",
        )
    return _registered[slot, kind]


def _search(slot: str) -> None:
    """Import the modules that register ddgan's own kinds of a slot."""
    if (room := ROOMS[slot]) in _searched:
        return
    _searched.add(room)
    package = import_module(room)
    for module in iter_modules(getattr(package, "__path__", [])):
        if not module.ispkg:
            import_module(f"{room}.{module.name}")


def _search_entry_points() -> None:
    """Import the packages that declare an entry point."""
    if ENTRY_POINTS in _searched:
        return
    _searched.add(ENTRY_POINTS)
    for point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:  # a broken package can fail in any way
            raise ValueError(
                f"the entry point {point.name} of the group {ENTRY_POINTS} cannot be loaded: {error}; fix "
                "or uninstall its package"
            ) from error


def make(slot: str, given: Any) -> Any:
    """Build a component from a configuration value: a component, a mapping with `kind`, or just a kind.

    Raises:
        SettingError: if it is none of these, or has invalid settings for its kind.
    """
    if getattr(type(given), "slot", None) == slot:
        return given
    if isinstance(given, str):
        given = SHORTHANDS[slot](given) if slot in SHORTHANDS else {"kind": given}
    if not isinstance(given, Mapping):
        raise SettingError("", f"is {shown(given)}; it must be a kind of {slot}, or a mapping with kind")
    if "kind" not in given:
        raise SettingError("kind", f"is missing; it must be one of {', '.join(kinds(slot))}")
    check_names(given)
    values = {name: value for name, value in given.items() if name != "kind"}
    return find(slot, given["kind"])(**values)


SLOT = "x-slot"
"""Key of the placeholder for a component of a slot in a JSON schema, see `schema`."""
SHORTHANDS: dict[str, Callable[[str], Mapping[str, Any]]] = {}
"""For slots where a string can be more than a kind: string -> mapping with `kind`."""


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
    """Return a field whose default is a component of this kind, looked up when it is needed."""
    return dataclasses.field(default_factory=lambda: find(slot, kind)(**values))
