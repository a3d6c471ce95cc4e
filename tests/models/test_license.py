"""The licence of weights: given once, kept in every copy, never changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.models.card import model_card
from ddgan.models.license import LONGEST, agreed_license, check_license, licensed
from ddgan.training.trainer import resume


@pytest.mark.parametrize(
    ("given", "present", "kept"),
    [
        (None, "", ""),
        (None, "mit", "mit"),
        ("mit", "", "mit"),
        (" mit\n", "mit", "mit"),
        ("For cats only.", "", "For cats only."),
    ],
)
def test_the_licence_that_weights_have(given: str | None, present: str, kept: str) -> None:
    assert agreed_license(given, present) == kept


def test_another_licence_is_refused() -> None:
    with pytest.raises(ValueError, match="license is 'mit', but these weights already have one: cats only"):
        agreed_license("mit", "cats only")


@pytest.mark.parametrize(("text", "words"), [(" ", "must be an identifier"), ("x" * (LONGEST + 1), "2,001")])
def test_text_that_is_no_licence_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_license(text)


def test_licensing_leaves_the_model_as_it_is(points_model: DDGAN) -> None:
    other = licensed(points_model, "mit")
    assert (points_model.license, other.license) == ("", "mit")
    assert licensed(points_model, None) is points_model


def test_a_run_keeps_the_licence_that_it_was_given(tiny_config: RunConfig, tmp_path: Path) -> None:
    run = ddgan.train(tiny_config, tmp_path / "run", license="cc-by-4.0", verbose=False)
    assert run.model.license == "cc-by-4.0"
    opened = DDGAN.from_pretrained(run.path)
    assert opened.license == "cc-by-4.0"
    assert "license: cc-by-4.0" in model_card(opened, "x")
    (newest,) = list((run.path / "checkpoints").iterdir())[-1:]
    assert json.loads((newest / "checkpoint.json").read_text())["license"] == "cc-by-4.0"
    assert resume(run.path, verbose=False).model.license == "cc-by-4.0"
    with pytest.raises(ValueError, match=r"license is 'mit', but these weights already have one: cc-by-4\.0"):
        ddgan.train(tiny_config, tmp_path / "next", init=run.path, license="mit", verbose=False)
    assert not (tmp_path / "next").exists()
