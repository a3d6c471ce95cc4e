"""Every class of settings: values of its own ranges pass and survive YAML, all others are one line."""

from __future__ import annotations

import dataclasses
import math
import pkgutil
import types
import typing
from importlib import import_module
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Interval, Len
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BeforeValidator

import ddgan
from ddgan.config.components import ROOMS, SHORTHANDS, Component, find, kinds
from ddgan.config.presets import parse_yaml, yaml_of
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import SettingError, descriptions, number, plain

Found = st.SearchStrategy[Any]


def every_class() -> dict[str, type]:
    """The classes of settings of the package by name; components by slot and kind."""
    found: dict[str, type] = {}
    for info in pkgutil.walk_packages(ddgan.__path__, "ddgan."):
        if info.name.startswith(("ddgan.paper", "ddgan.cli", "ddgan.__main__")):
            continue  # they have none
        module = import_module(info.name)
        for name, cls in vars(module).items():
            its_own = isinstance(cls, type) and cls.__module__ == info.name and not name.startswith("_")
            if its_own and hasattr(cls, "__pydantic_validator__") and not hasattr(cls, "slot"):
                found[f"{info.name.rpartition('.')[2]}.{name}"] = cls
    for slot in ROOMS:
        own = (kind for kind in kinds(slot) if find(slot, kind).__module__.startswith("ddgan."))
        found |= {f"{slot}.{kind}": find(slot, kind) for kind in own}
    return found


ALL = every_class()
FIELDS = [(name, field.name) for name, cls in ALL.items() for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
WITH_FIELDS = sorted({name for name, _ in FIELDS})


def hint(cls: type, field: str) -> Any:
    return typing.get_type_hints(cls, include_extras=True)[field]


def needed(name: str) -> dict[str, Any]:
    """Values for the settings that have no default."""
    return needed_of(ALL[name])


def needed_of(cls: Any) -> dict[str, Any]:
    def value(kind: Any) -> Any:
        if typing.get_origin(kind) is Literal:
            return typing.get_args(kind)[0]
        return 0.5 if typing.get_origin(kind) is Annotated else "x.pt"

    return {
        field.name: value(hint(cls, field.name))
        for field in dataclasses.fields(cls)
        if field.default is field.default_factory is dataclasses.MISSING
    }


def made(cls: type, values: dict[str, Any]) -> Any:
    return cls(**{name: value for name, value in values.items() if name != "kind"})


# --- what is allowed --------------------------------------------------------------------------------


def allowed(kind: Any) -> Found:
    """Plain values that a field of this type takes, as far as the type says it."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        base, rule = inside
        if isinstance(rule, Component):
            ours = [one for one in kinds(rule.slot) if f"{rule.slot}.{one}" in ALL]
            return st.sampled_from(ours).map(lambda one: {"kind": one})
        if isinstance(rule, BeforeValidator):
            return allowed(base)
        return in_range(base, rule) if isinstance(rule, Interval) else several(base, rule)
    if origin is Literal:
        return st.sampled_from(inside)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([st.none() if one is type(None) else allowed(one) for one in inside])
    if origin in (tuple, dict):
        return several(kind, Len())
    if dataclasses.is_dataclass(kind):
        return st.just(needed_of(kind))
    simple: dict[Any, Found] = {
        bool: st.booleans(),
        str: st.text(max_size=12),
        float: st.floats(allow_nan=False, allow_infinity=False),
        Any: st.integers() | st.text(max_size=3) | st.booleans(),
    }
    return simple[kind]


def in_range(base: Any, rule: Interval) -> Found:
    ge, gt, le, lt = (typing.cast(Any, getattr(rule, name)) for name in ("ge", "gt", "le", "lt"))
    if base is int:
        return st.integers(ge if gt is None else gt + 1, le if lt is None else lt - 1)
    return st.floats(
        ge if gt is None else gt,
        le if lt is None else lt,
        exclude_min=gt is not None,
        exclude_max=lt is not None,
    )


def several(base: Any, length: Len) -> Found:
    inside = typing.get_args(base)
    if typing.get_origin(base) is dict:
        return st.dictionaries(allowed(inside[0]), allowed(inside[1]), min_size=length.min_length)
    if inside[-1] is not Ellipsis:
        return st.tuples(*map(allowed, inside)).map(list)
    most = min(length.max_length or 4, 4)
    return st.lists(allowed(inside[0]), min_size=length.min_length, max_size=most)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_values_of_the_ranges_survive_the_way_through_yaml(data: st.DataObject) -> None:
    """Settings that do not fit each other are one line; a field by itself always fits the others' defaults
    in its type.
    """
    name = data.draw(st.sampled_from(WITH_FIELDS))
    cls: Any = ALL[name]
    fields = [field.name for field in dataclasses.fields(cls)]
    chosen = data.draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3, unique=True))
    values = {field: data.draw(allowed(hint(cls, field)), label=field) for field in chosen}
    complaint = ""
    try:
        config = made(cls, needed(name) | values)
    except SettingError as error:
        complaint = str(error)
    if complaint:  # of what must fit together
        assert "\n" not in complaint
        assert not any(rule in complaint for rule in ("it must be at", "it must be a ", "it must have"))
        return
    for field, value in values.items():
        if isinstance(value, bool | int | float | str):
            assert getattr(config, field) == value
            assert type(getattr(config, field)) in (type(value), float)
    assert made(cls, plain(config)) == config
    assert made(cls, parse_yaml(yaml_of(plain(config)), "this")) == config


# --- what is refused --------------------------------------------------------------------------------


def refused(kind: Any) -> list[Any]:
    """Values that a field of this type must not take."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        base, rule = inside
        if isinstance(rule, Component):
            text = [] if rule.slot in SHORTHANDS else ["no_such_kind"]  # elsewhere it may be a path
            return [3, None, True, [], {}, *text, {"kind": "no_such_kind"}, {"kind": 3}, {"kind": None}]
        if isinstance(rule, Len):
            few = [[]] if rule.min_length and typing.get_origin(base) is tuple else []
            return [*refused(base), *few]
        return [*refused(base), *beyond(base, rule)]
    if origin is Literal:
        return ["no_such_word", None, [], {}, "", *([] if 1 in inside else [1, True])]
    if origin in (types.UnionType, typing.Union) and any(map(dataclasses.is_dataclass, inside)):
        return [math.nan, [[]], True, {"no_such_setting": 1}]
    if origin in (types.UnionType, typing.Union):
        return [3.25, [1], math.nan] if type(None) not in inside else [math.nan, [[]]]
    if origin is tuple:
        return [
            1,
            "ab",
            None,
            True,
            {"a": 1},
            *([one] * 2 for one in refused(inside[0]) if one not in ([], None)),
        ]
    if origin is dict:
        return [
            1,
            None,
            "pair",
            [1],
            True,
            *([] if inside[0] is str else [{}, {"no_such_role": {}}, {3: {}}]),
        ]
    if dataclasses.is_dataclass(kind):
        return [1, "x", None, [], True, {"no_such_setting": 1}, {1: 1}]
    number_like = ["x", "1", None, True, False, math.nan, math.inf, -math.inf, [], {}, 1j, b"1"]
    return {
        bool: ["true", 0, 1, 1.0, None, []],
        str: [1, None, True, 1.5, [], {}, b"x"],
        int: [1.5, 10**400, *number_like],
        float: number_like,
    }[kind]


def beyond(base: Any, rule: Interval) -> list[Any]:
    found = []
    for limit, sign in ((rule.ge, -1), (rule.le, 1)):
        if limit is not None:
            found += [typing.cast(Any, limit) + sign, typing.cast(Any, limit) + sign * 10**30]
    for limit in (rule.gt, rule.lt):
        found += [] if limit is None else [limit]
    if base is float:
        found += [10**400, -(10**400)]
    return found


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=[f"{name}-{field}" for name, field in FIELDS])
def test_whatever_else_is_one_line_that_names_the_setting(name: str, field: str) -> None:
    cls = ALL[name]
    for wrong in refused(hint(cls, field)):
        with pytest.raises(SettingError) as error:
            made(cls, needed(name) | {field: wrong})
        assert str(error.value).startswith(field), (wrong, str(error.value))
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 900, (wrong, str(error.value))


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_every_setting_is_described(name: str) -> None:
    cls: Any = ALL[name]
    assert {field.name for field in dataclasses.fields(cls)} <= descriptions(cls).keys()


def test_what_has_no_default_must_be_given() -> None:
    for name in WITH_FIELDS:
        assert made(ALL[name], needed(name)) == made(ALL[name], needed(name))
        for missing in needed(name):
            others = {field: value for field, value in needed(name).items() if field != missing}
            with pytest.raises(
                SettingError, match=rf"^{missing} is missing; it has no default; give it a value$"
            ):
                made(ALL[name], others)


@pytest.mark.parametrize("name", ALL)
def test_a_setting_that_does_not_exist_is_answered_with_those_that_do(name: str) -> None:
    with pytest.raises(
        SettingError,
        match=r"^no_such_setting is not a setting; (the settings are|there are no settings here)",
    ):
        made(ALL[name], {"no_such_setting": 1})
    for field in dataclasses.fields(ALL[name]):  # type: ignore[arg-type]
        with pytest.raises(SettingError, match=f"^{field.name}x is not a setting; did you mean {field.name}"):
            made(ALL[name], {f"{field.name}x": 1})


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_settings_do_not_change(name: str) -> None:
    config: Any = made(ALL[name], needed(name))
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, getattr(config, field))


def test_what_can_be_left_out_is_left_out_by_default() -> None:
    """So that a YAML file, in which nothing stands for None, is read as it was written."""
    optional = [(n, f) for n, f in FIELDS if type(None) in typing.get_args(hint(ALL[n], f))]
    assert optional
    assert all(getattr(made(ALL[name], needed(name)), field) is None for name, field in optional)


# --- kinds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", ROOMS)
def test_an_unknown_kind_is_answered_with_those_that_there_are(slot: str) -> None:
    for unknown in ("no_such_kind", "", 3, None, ["vp"], {"a": 1}, True):
        with pytest.raises(SettingError) as error:
            find(slot, unknown)
        assert f"which is not a known kind of {slot}; it must be one of {', '.join(kinds(slot))}" in str(
            error.value
        ) or (slot[0] in "aeiou" and "; it must be one of" in str(error.value))
        assert "--import PACKAGE" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_kind_is_registered_once_unless_by_the_same_module(monkeypatch: pytest.MonkeyPatch) -> None:
    from ddgan.config import components

    monkeypatch.setattr(components, "_registered", dict(components._registered))

    def registered(name: str) -> None:
        class Mine:
            pass

        Mine.__qualname__ = name
        ddgan.register("schedule", "mine")(Mine)

    registered("Mine")
    registered("Mine")  # as when a module is loaded again
    with pytest.raises(
        ValueError, match=r"^schedule 'mine' is registered twice: by .*Mine and by .*Other; give one"
    ):
        registered("Other")
    with pytest.raises(
        ValueError, match=r"^schedule 'vp' is registered twice: by ddgan.diffusion.schedules.VPCon"
    ):
        ddgan.register("schedule", "vp")(type("Other", (), {}))


# --- numbers in words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), (10**6, "1,000,000"), (1e9, "1,000,000,000"), (0.05, "0.05"), (1e-5, "1e-05")],
)
def test_a_limit_is_written_as_a_person_writes_it(value: float, text: str) -> None:
    assert number(value) == text


def test_deep_nesting_is_one_line() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SettingError, match=r"^a setting is nested too deeply$"):
        RunConfig(training=deep)


@pytest.mark.parametrize("name", ["self", "__dataclass_self__", "cls", "values", "named"])
def test_a_name_of_pythons_own_is_no_setting(name: str) -> None:
    with pytest.raises(SettingError, match=f"^training.{name} is not a setting"):
        RunConfig.from_dict({"training": {name: 1}})
    with pytest.raises(SettingError, match=f"^method.{name} is not a setting"):
        RunConfig.from_dict({"method": {"kind": "denoising_gan", name: 1}})


def test_a_name_that_is_no_text_is_refused_in_components_too() -> None:
    with pytest.raises(SettingError, match=r"^method has a setting 1; the name must be a string"):
        RunConfig.from_dict({"method": {"kind": "denoising_gan", 1: 2}})
