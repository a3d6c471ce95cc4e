"""An extension of griffe: classes of settings are dataclasses, so that the site shows their arguments."""

from __future__ import annotations

from typing import Any

from griffe import Class, Decorator, Expr, Extension, Module

DECORATORS = ("ddgan.config.settings.settings", "ddgan.config.components.register", "ddgan.register")
ARGS = "Args:"


class _Dataclass(Expr):
    """The decorator of the standard library, as griffe looks for it."""

    canonical_path = "dataclasses.dataclass"


class SettingsExtension(Extension):
    """Marks the classes that `settings` and `register` turn into dataclasses, and completes their docs."""

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        _mark(pkg)


def _mark(holder: Module | Class) -> None:
    for member in holder.members.values():
        if member.is_alias or not (member.is_module or member.is_class):
            continue
        _mark(member)
        if member.is_class and any(one.callable_path in DECORATORS for one in member.decorators):
            member.decorators.append(Decorator(_Dataclass(), lineno=None, endlineno=None))
            _inherit_arguments(member)


def _inherit_arguments(cls: Class) -> None:
    """Describe the settings of a private base, which has no place of its own on the site."""
    for base in cls.resolved_bases:
        if base.name.startswith("_") and cls.docstring and base.docstring and ARGS not in cls.docstring.value:
            _, section, settings = base.docstring.value.partition(ARGS)
            cls.docstring.value += f"\n\n{section}{settings}"
