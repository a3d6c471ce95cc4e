"""`ddgan train --help`: every setting with its value, what it may be, and what it is for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Interval, Len

from ddgan.cli import main
from ddgan.cli.settings_help import allowed, hints, settings_help
from ddgan.config.components import kinds
from ddgan.config.overrides import dotted
from ddgan.config.presets import preset_names, preset_summary
from ddgan.config.run_config import SECTIONS, LabelConfig, RunConfig
from ddgan.config.training import TrainingConfig

Capture = pytest.CaptureFixture[str]
INT, FLOAT = Annotated[int, Interval(ge=1, le=64)], Annotated[float, Interval(gt=0, lt=1)]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (INT, "whole number from 1 to 64"),
        (Annotated[int, Interval(gt=0, lt=10**6)], "whole number from 1 to 999,999"),
        (FLOAT, "number in (0, 1)"),
        (Annotated[float, Interval(ge=0.05, le=1e6)], "number in [0.05, 1,000,000]"),
        (bool, "true or false"),
        (str, "text"),
        (Literal["crop", "fit"], "one of crop, fit"),
        (INT | Literal["auto"], "whole number from 1 to 64, or auto"),
        (FLOAT | None, "none, or number in (0, 1)"),
        (LabelConfig | None, "none, or a mapping of classes, dropout"),
        (tuple[FLOAT, FLOAT], "list of 2 entries, each number in (0, 1)"),
        (tuple[INT, ...], "list of entries, each whole number from 1 to 64"),
        (
            Annotated[tuple[bool, ...], Len(min_length=1, max_length=8)],
            "list of 1 to 8 entries, each true or false",
        ),
        (hints(RunConfig)["generator"], "a kind of generator: mlp, ncsnpp, refined, subbands"),
    ],
    ids=str,
)
def test_what_is_allowed_in_words(kind: object, words: str) -> None:
    assert allowed(kind) == words


@pytest.mark.parametrize("name", preset_names())
def test_every_setting_of_a_preset_is_there_with_its_value(name: str) -> None:
    config = RunConfig.load(name)
    entries = dict(re.findall(r"^  --([\w.]+) (.*?)(?:   \(.*\))?$", settings_help(config), re.M))
    assert entries.keys() == dict(dotted(config.to_dict())).keys()
    # What is shown can be typed: it gives the same configuration.
    assert entries["training.batch_size"] == str(config.training.batch_size)
    assert entries["method.kind"] == config.method.kind
    assert entries["generator.kind"] == config.generator.kind


def test_what_is_shown_can_be_typed(capsys: Capture) -> None:
    config = RunConfig.load("digits_quick")
    entries = re.findall(r"^  --([\w.]+) (.*?)   \(", settings_help(config), re.M)
    arguments = [f"--{name}={value.replace('(none)', 'none')}" for name, value in entries]
    assert main(["train", "--preset", "digits_quick", "--print_config", *arguments]) == 0
    assert capsys.readouterr().out == config.to_yaml()


def test_ranges_and_kinds_are_named_beside_them() -> None:
    text = settings_help(RunConfig.load("digits_quick"))
    assert "  --training.batch_size 256   (whole number from 1 to 1,000,000)\n" in text
    assert "  --generator.tanh true   (true or false)\n" in text
    assert "  --training.device auto   (one of auto, cpu, cuda, mps)\n" in text
    for slot, name in (
        ("method", "method"),
        ("penalty", "method.penalties.0"),
        ("adversarial", "method.adversarial"),
        ("discriminator", "method.discriminators.pair"),
        ("schedule", "diffusion.schedule"),
        ("optimizer", "optimization.generator"),
        ("data", "data"),
    ):
        assert re.search(rf"^  --{name}.kind \w+   \(one of {', '.join(kinds(slot))}\)$", text, re.M), slot
    assert "a kind of augmentation: horizontal_flip" in text


def test_sections_stand_apart_in_their_order() -> None:
    headings = re.findall(r"^([a-z_]+)(?::.*)?$", settings_help(RunConfig()), re.M)
    assert headings == SECTIONS


def test_words_of_the_docstring_follow() -> None:
    text = " ".join(settings_help(RunConfig()).split())
    assert "number of newest checkpoints to keep." in text
    assert "the optimizer of each D." in text
    assert TrainingConfig.__doc__ is not None


def test_help_of_train_lists_presets_and_settings(capsys: Capture) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Settings by dotted name, with their defaults:" in text
    assert settings_help(RunConfig()) in text
    for name in preset_names():
        assert f"  {name} " in text
        assert preset_summary(name) in " ".join(text.split())


def test_help_of_train_knows_what_else_is_given(tiny_yaml: str, capsys: Capture) -> None:
    changes = ["--generator.kind", "mlp", "--training.batch_size", "7", "--data", "gaussians"]
    assert main(["train", "--config", tiny_yaml, "-h", *changes]) == 0
    text = capsys.readouterr().out
    assert f"with their values in {tiny_yaml}:" in text
    assert "--generator.hidden_features" in text
    assert "--training.batch_size 7 " in text
    assert "--data.kind gaussians " in text


@pytest.mark.parametrize("name", preset_names())
def test_the_first_line_of_a_preset_says_what_it_is(name: str) -> None:
    summary = preset_summary(name)
    assert summary.endswith(".")
    assert len(summary.split()) > 6


def test_a_mistake_beside_help_is_one_line(capsys: Capture) -> None:
    assert main(["train", "--help", "--preset", "digits", "--zebra", "1"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ddgan: --zebra is not a setting")
    assert len(said.err.splitlines()) == 1


def test_a_path_is_shown_as_it_is(tmp_path: Path) -> None:
    config = RunConfig().changed({"data.path": str(tmp_path / "My Photos")})
    assert f"  --data.path {tmp_path / 'My Photos'}   (text)\n" in settings_help(config)
