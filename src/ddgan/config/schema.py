"""The JSON schema of a configuration, so that editors complete and check its YAML."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from ddgan.config.components import SHORTHANDS, SLOT, find, kinds
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import SETTINGS, descriptions, plain

__all__ = ["json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `RunConfig`, with every registered kind of every slot.

    It covers types and ranges; rules across settings are only checked by `RunConfig.from_dict`.
    """
    definitions: dict[str, Any] = {}
    root = _of_settings(RunConfig, definitions)
    return {"$schema": DIALECT, "title": "ddgan, format 2", **root, "$defs": definitions}


def _of_settings(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a settings class; nested settings become definitions."""
    schema = _Generator().generate(cls.__pydantic_core_schema__)
    about, fields = descriptions(cls), {field.name: field for field in dataclasses.fields(cls)}
    properties = {}
    for name, given in schema.get("properties", {}).items():
        given.pop("title", None)
        described = {"description": about[name]} if name in about else {}
        properties[name] = {**_resolved(given, definitions), **described, **_default(fields[name])}
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    required = {"required": schema["required"]} if "required" in schema else {}
    return {
        "type": "object",
        "description": summary,
        "properties": properties,
        **required,
        "additionalProperties": False,
    }


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return the default of a field, if it has one."""
    if field.default is not dataclasses.MISSING:
        return {} if field.default is None else {"default": plain(field.default)}
    if field.default_factory is not dataclasses.MISSING:
        return {"default": plain(field.default_factory())}
    return {}


def _resolved(schema: Any, definitions: dict[str, Any]) -> Any:
    """Replace the placeholders for settings and slots by references to definitions."""
    if isinstance(schema, list):
        return [_resolved(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if SETTINGS in schema:
        cls = schema[SETTINGS]
        return _reference(f"{cls.__module__}.{cls.__qualname__}", cls, definitions)
    if SLOT in schema:
        return _of_slot(schema[SLOT], definitions)
    return {
        name: _resolved(one, definitions) for name, one in schema.items() if name not in ("default", "title")
    }


def _reference(name: str, cls: Any, definitions: dict[str, Any], **more: Any) -> dict[str, Any]:
    if name not in definitions:
        definitions[name] = {}  # registered first, in case it refers to itself
        made = _of_settings(cls, definitions)
        if more:
            made["properties"] = more | made["properties"]
            made["required"] = ["kind", *made.get("required", [])]
        definitions[name] = made
    return {"$ref": f"#/$defs/{name}"}


def _of_slot(slot: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of any kind of a slot: a mapping with `kind`, or a string (a kind or a shorthand)."""
    known = kinds(slot)
    mappings = [
        _reference(f"{slot}.{kind}", find(slot, kind), definitions, kind={"const": kind}) for kind in known
    ]
    text = {"type": "string"} if slot in SHORTHANDS else {"enum": known}
    return {"anyOf": [*mappings, text]}


class _Generator(GenerateJsonSchema):
    """A generator without defaults: pydantic rejects those that are not JSON, so `_default` writes them."""

    def default_schema(self, schema: Any) -> Any:
        return self.generate_inner(schema["schema"])
