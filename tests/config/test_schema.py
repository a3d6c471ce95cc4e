"""The JSON schema says what is allowed, by the judgement of another library."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import ddgan
from ddgan.cli import main
from ddgan.config.components import ROOMS, _registered, kinds
from ddgan.config.presets import preset_names, read_settings
from ddgan.config.run_config import RunConfig
from ddgan.config.schema import json_schema
from tiny import TINY_DIGITS, TINY_POINTS

MISTAKES: list[dict[str, Any]] = [
    {"trainig": {"batch_size": 4}},
    {"training": {"batch_sz": 4}},
    {"training": {"batch_size": 0}},
    {"training": {"batch_size": 2.5}},
    {"training": {"trackers": ["csv"]}},
    {"seed": -1},
    {"generator": {"kind": "vit"}},
    {"generator": {"base_channels": 8}},
    {"method": {"kind": "denoising_gan", "adversarial": {"kind": "cosine"}}},
    {"method": {"kind": "denoising_gan", "penalties": [{"kind": "r1", "gamma": -1.0}]}},
    {"augmentation": [{"kind": "rotation"}]},
    {"conditions": {"label": {"classes": 0}}},
]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", preset_names())
def test_presets_fit_it_as_written_and_complete(name: str, validator: Draft202012Validator) -> None:
    validator.validate(read_settings(name))
    validator.validate(yaml.safe_load(RunConfig.load(name).to_yaml()))
    validator.validate(RunConfig.load(name).to_dict())


@pytest.mark.parametrize("base", [TINY_DIGITS, TINY_POINTS], ids=["digits", "points"])
def test_small_configurations_fit_it(base: dict[str, Any], validator: Draft202012Validator) -> None:
    validator.validate(base)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistakes_do_not_fit_it(mistake: dict[str, Any], validator: Draft202012Validator) -> None:
    assert not validator.is_valid(mistake)
    with pytest.raises(ValueError, match=r"."):
        RunConfig.from_dict(copy.deepcopy(mistake))


def test_every_setting_is_described() -> None:
    schema = json_schema()
    sections = {"RunConfig": schema, **schema["$defs"]}
    missing = [
        f"{section}.{name}"
        for section, one in sections.items()
        for name, setting in one["properties"].items()
        if name != "kind" and not setting.get("description")
    ]
    assert missing == []


def test_a_component_from_outside_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddgan.config.components._registered", dict(_registered))

    @ddgan.register("augmentation", "turned")
    class TurnedConfig:
        """Turns samples.

        Args:
            times: quarter turns.
        """

        times: int = 1

    validator = Draft202012Validator(json_schema())
    assert validator.is_valid({"augmentation": [{"kind": "turned", "times": 2}]})
    assert not validator.is_valid({"augmentation": [{"kind": "turned", "time": 2}]})


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--print_schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(json_schema()))


def test_every_slot_has_kinds() -> None:
    assert all(kinds(slot) for slot in ROOMS)
