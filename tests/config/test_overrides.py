"""Settings by dotted name: what changes, what is refused, and with which hint; alike from everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ddgan.cli import main
from ddgan.config.overrides import UnknownSettingError, dotted, parsed
from ddgan.config.presets import parse_yaml, yaml_of
from ddgan.config.run_config import RunConfig

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return RunConfig.load("digits_quick")


# --- changes ------------------------------------------------------------------------------------------


def test_lists_and_mappings_are_entered_by_number_and_name(base: RunConfig) -> None:
    config = base.changed(
        {"method.penalties.0.gamma": 0.05, "method.discriminators.pair.base_channels": 16, "seed": 3}
    )
    assert (config.method.penalties[0].gamma, config.method.penalties[0].every) == (0.05, 8)
    assert (config.method.discriminators["pair"].base_channels, config.seed) == (16, 3)
    assert config.changed(dict(dotted(base.to_dict()))) == base


def test_another_kind_forgets_the_settings_of_the_old_one_in_any_order(base: RunConfig) -> None:
    for changes in (
        {"method.discriminators.pair.kind": "mlp", "method.discriminators.pair.hidden_features": 7},
        {"method.discriminators.pair.hidden_features": 7, "method.discriminators.pair.kind": "mlp"},
    ):
        config = base.changed(changes)
        assert config.method.discriminators["pair"].hidden_features == 7
        assert config.method.discriminators["pair"].num_layers == 3
        assert config.method.reconstruction == base.method.reconstruction
    same = base.changed({"generator.kind": "mlp", "generator.num_blocks": 2})
    assert same.generator.hidden_features == base.generator.hidden_features == 384


def test_a_component_may_be_given_by_its_kind_alone(base: RunConfig) -> None:
    config = base.changed({"method.adversarial": "relativistic", "augmentation": ["horizontal_flip"]})
    assert config.method.adversarial.kind == "relativistic"
    assert config.augmentation[0].probability == 0.5
    assert base.changed({"data": "gaussians"}).data.kind == "gaussians"
    assert base.changed({"data": "some/photos"}).data.path == "some/photos"


def test_the_configuration_itself_stays(base: RunConfig) -> None:
    before = base.to_dict()
    base.changed({"method.penalties.0.gamma": 7.0, "generator.kind": "ncsnpp"})
    assert base.to_dict() == before


# --- texts of the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("training.batch_size", "32", 32),
        ("training.batch_size", "-3", -3),
        ("optimization.final_lr", "1e-3", 0.001),
        ("optimization.final_lr", "1E3", 1000.0),
        ("optimization.final_lr", "+.5", 0.5),
        ("optimization.final_lr", "2.", 2.0),
        ("training.compile", "true", True),
        ("training.device", "cpu", "cpu"),
        ("data.kind", "gaussians", "gaussians"),
        ("method.penalties", "[{kind: r1, gamma: 0.1}]", [{"kind": "r1", "gamma": 0.1}]),
        ("generator", "{kind: mlp, num_blocks: 2}", {"kind": "mlp", "num_blocks": 2}),
        ("method.reconstruction", "none", None),
        ("method.reconstruction", "null", None),
        ("conditions.label", "none", None),
        ("conditions.label.classes", "auto", "auto"),
        # What YAML 1.1 would take for another number, a date or a truth stays a text, and is refused.
        ("training.batch_size", "1_000", "1_000"),
        ("training.batch_size", "010", "010"),
        ("training.batch_size", "1:30", "1:30"),
        ("training.batch_size", "0x10", "0x10"),
        ("training.batch_size", "2026-01-01", "2026-01-01"),
        ("training.compile", "yes", "yes"),
        ("training.compile", "off", "off"),
        ("optimization.final_lr", "nan", "nan"),
    ],
)
def test_a_text_stands_for_a_plain_value(base: RunConfig, name: str, text: str, value: Any) -> None:
    found = parsed(text, name, base)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["007", "1e5", "no", "null", "a: b", "[x]", "", "photos/ä b", "#1"])
def test_a_path_stays_the_text_that_it_is(text: str) -> None:
    assert parsed(text, "data.path", RunConfig()) == text


@pytest.mark.parametrize("text", ["", "  ", "null", "~", "# nothing"])
def test_no_value_is_refused(base: RunConfig, text: str) -> None:
    with pytest.raises(ValueError, match=r"^diffusion.num_steps has no value; give it one or leave it out$"):
        parsed(text, "diffusion.num_steps", base)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=12) | st.from_regex(r"[-+]?[0-9._:xeEnaif]{1,8}", fullmatch=True))
def test_any_text_survives_yaml_as_the_text_that_it_is(text: str) -> None:
    """Also where other programs, which know YAML 1.1, read it."""
    for values in ({"path": text}, {"list": [text]}):
        assert parse_yaml(yaml_of(values), "this") == values
        assert yaml.safe_load(yaml_of(values)) == values


@settings(max_examples=200, deadline=None)
@given(number=st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none())
def test_any_number_survives_yaml(number: Any) -> None:
    found = parse_yaml(yaml_of({"x": number}), "this")["x"]
    assert found == number
    assert type(found) is type(number)


# --- names that are not settings ------------------------------------------------------------------------

MEANT = {
    "batch_size": "training.batch_size",
    "batch-size": "training.batch_size",
    "batch": "training.batch_size",
    "num_iterations": "training.num_iterations",
    "iterations": "training.num_iterations",
    "max_minutes": "training.max_minutes",
    "num_steps": "diffusion.num_steps",
    "T": "diffusion.num_steps",
    "lr": "optimization.generator.lr or optimization.discriminator.lr",
    "learning_rate": "optimization.generator.lr and optimization.discriminator.lr",
    "optimization.lr": "optimization.generator.lr or optimization.discriminator.lr",
    "epochs": "training.num_iterations, or training.max_images",
    "num_classes": "conditions.label.classes",
    "image_size": "data.size",
    "generator.image_size": "data.size",
    "ema_decay": "optimization.ema.decay",
    "decay": "optimization.ema.decay",
    "device": "training.device",
    "gamma": "method.penalties.0.gamma",
    "schedule": "diffusion.schedule.kind",
    "adversarial": "method.adversarial.kind",
    "flip": "augmentation",
    "seeds": "seed",
    "traning.batch_size": "training.batch_size",
    "training.batch_sizes": "training.batch_size",
    "training.batchsize": "training.batch_size",
    "Training.Batch_Size": "training.batch_size",
    "diffusion.num_step": "diffusion.num_steps",
    "diffusion.schedule.beta_mx": "diffusion.schedule.beta_max",
    "method.penalties.0.gama": "method.penalties.0.gamma",
    "method.discriminators.pair.base_channel": "method.discriminators.pair.base_channels",
    "generator.hidden_feature": "generator.hidden_features",
    "conditions.label.class": "conditions.label.classes",
}
"""What people may type -> what the answer names."""


@pytest.mark.parametrize(("name", "meant"), MEANT.items(), ids=list(MEANT))
def test_a_name_that_is_no_setting_is_answered_with_whole_names(
    base: RunConfig, name: str, meant: str, capsys: Capture
) -> None:
    with pytest.raises(ValueError, match=r"is not a setting; did you mean") as error:
        base.changed({name: 1})
    assert str(error.value) == f"{name} is not a setting; did you mean {meant}?"
    assert main(["train", "--preset", "digits_quick", "--print_config", f"--{name}", "1"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.replace("--", "") == f"ddgan: {name} is not a setting; did you mean {meant}?\n"


def test_on_the_command_line_every_name_of_an_answer_can_be_typed(base: RunConfig) -> None:
    for name in ("lr", "epochs", "seeds", "flip"):
        with pytest.raises(UnknownSettingError) as error:
            base.changed({name: 1})
        names = MEANT[name].replace(",", "").replace(" and ", " ").replace(" or ", " ").split()
        assert [word.strip("?,") for word in error.value.said("--").split() if "--" in word] == [
            f"--{one}" for one in [name, *names]
        ]


@pytest.mark.parametrize("name", ["zebra", "zebra.stripes", ".", "", "a.b.c", "training.", ".training"])
def test_where_nothing_comes_near_the_sections_are_named(base: RunConfig, name: str) -> None:
    with pytest.raises(ValueError, match=r"is not a setting") as error:
        base.changed({name: 1})
    assert "\n" not in str(error.value)
    assert "data, conditions, seed, method" in str(error.value) or "did you mean" in str(error.value)


@pytest.mark.parametrize("place", ["1", "-1", "x", "00", "9" * 30])
def test_an_entry_that_is_not_there(base: RunConfig, place: str) -> None:
    with pytest.raises(ValueError, match=rf"^method.penalties.{place}.gamma is not a setting"):
        base.changed({f"method.penalties.{place}.gamma": 1.0})


# --- the same words from everywhere -------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("training.batch_size", 0),
    ("training.batch_size", 2.5),
    ("training.batch_size", True),
    ("training.batch_size", "many"),
    ("training.batch_size", [3]),
    ("training.batch_size", 10**30),
    ("training.compile", 1),
    ("training.device", "abacus"),
    ("training.trackers", "wandb"),
    ("training.trackers", ["csv"]),
    ("diffusion.num_steps", 0),
    ("diffusion.schedule", "linear"),
    ("diffusion.schedule.beta_max", -1),
    ("optimization.final_lr", 1e9),
    ("optimization.ema.half_lives", [1, 1]),
    ("generator.kind", "vit"),
    ("generator.time_features", 7),
    ("method.penalties", 3),
    ("method.penalties", [{"kind": "r1", "gama": 1}]),
    ("method.penalties.0.gamma", 0),
    ("method.discriminators.pair.kind", "vit"),
    ("seed", -1),
    ("conditions.label.dropout", 2),
    ("augmentation", ["rotation"]),
    ("training.accumulation", 3),
]


def nested(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The values with one of them changed, where a person would write it in a file."""
    place: Any = values
    *above, last = name.split(".")
    for part in above:
        if isinstance(place, list):
            place = place[int(part)]
        else:
            place[part] = place.get(part) or {}
            place = place[part]
    if last == "kind":
        place.clear()
    place[last] = value
    return values


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}={value}" for name, value in WRONG])
def test_python_yaml_and_the_command_line_complain_in_the_same_words(
    base: RunConfig, name: str, value: Any, tmp_path: Path, capsys: Capture
) -> None:
    words = []
    with pytest.raises(ValueError, match=r"^[a-z_.0-9]+ ") as error:
        base.changed({name: value})
    words.append(str(error.value))
    with pytest.raises(ValueError, match=r"^[a-z_.0-9]+ ") as error:
        RunConfig.from_dict(nested(base.to_dict(), name, value))
    words.append(str(error.value))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(nested(base.to_dict(), name, value)))
    for arguments in (
        ["--config", str(path)],
        ["--preset", "digits_quick", f"--{name}", json.dumps(value)],
        ["--preset", "digits_quick", f"--{name}={json.dumps(value)}"],
    ):
        assert main(["train", *arguments, "--print_config"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        words.append(said.err.removeprefix("ddgan: ").strip())
    assert set(words) == {words[0]}
    assert words[0].startswith(name.split(".")[0])
