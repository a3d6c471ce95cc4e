"""Packing a run: small, without paths of the machine, with the scores of the weights that are handed out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from docs.results import models as script
from safetensors import safe_open

import ddgan
from ddgan import Run, RunConfig
from ddgan.models import packing
from ddgan.models.model import TrainedModel
from ddgan.models.packing import check_portable, pack, portable
from described import described

FILES = ["README.md", "config.yaml", "model.json", "model.safetensors", "samples.png", "scores.json"]


def unscored(model: TrainedModel) -> Mapping[str, Any]:
    return {}


def test_parameters_are_the_ema_rounded_to_bf16(tiny_run: Run, packed: Path) -> None:
    assert sorted(path.name for path in packed.iterdir()) == FILES
    ours, theirs = ddgan.load(packed), ddgan.load(tiny_run.path)
    assert ours.config == theirs.config == RunConfig.load(packed / "config.yaml")
    for (name, a), (_, b) in zip(
        ours.generator.named_parameters(), theirs.generator.named_parameters(), strict=True
    ):
        assert a.dtype == torch.float32
        assert torch.equal(a, b.to(torch.bfloat16).float()), name
    for (name, a), (_, b) in zip(
        ours.generator.named_buffers(), theirs.generator.named_buffers(), strict=True
    ):
        assert torch.equal(a, b), name
    with safe_open(packed / "model.safetensors", framework="pt") as file:
        dtypes = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert torch.bfloat16 in dtypes
    assert (packed / "model.safetensors").stat().st_size < 0.75 * (
        tiny_run.path / "model.safetensors"
    ).stat().st_size


def test_scores_are_those_of_the_packed_weights(tiny_run: Run, tmp_path: Path) -> None:
    seen: list[TrainedModel] = []

    def score(model: TrainedModel) -> dict[str, Any]:
        seen.append(model)
        return {"frechet": {"value": float(model.sample(2).sum())}}

    found = pack(tiny_run.path, tmp_path / "tiny", described(), score)
    expected = float(ddgan.load(tmp_path / "tiny").sample(2).sum())
    assert found.scores == {"frechet": {"value": expected}}
    assert float(tiny_run.model.sample(2).sum()) != expected


def test_the_card_has_the_terms_the_training_and_the_limits(packed: Path) -> None:
    card = (packed / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    assert re.findall("^## (.*)$", card, re.M) == [
        *("Licence", "Data", "What it is good for", "Limits", "Training", "Model", "Scores", "Settings")
    ]
    for text in (
        "ddgan sample tiny -n 64",
        'ddgan.load("tiny")',
        "Digits (somebody, 1998). Its own terms: CC BY 4.0.",
        "- it shows nothing\n- it is small",
        "```\nddgan train --config tiny.yaml --out runs/tiny\n```",
        "commit 0123456789ab, seed 3, 5 iterations, 40 images, ",
        "a laptop. ",
        "| modes.kl | 0\\.25 |",
        "![A grid of samples](samples.png)",
    ):
        assert text in card


def test_equal_runs_give_equal_weights_files(tiny_run: Run, packed: Path, tmp_path: Path) -> None:
    pack(tiny_run.path, tmp_path / "tiny", described(), unscored)
    assert (tmp_path / "tiny/model.safetensors").read_bytes() == (packed / "model.safetensors").read_bytes()
    assert not (tmp_path / "tiny/scores.json").exists()


def test_of_the_path_of_the_data_only_its_name_stays(tiny_config: RunConfig) -> None:
    for given, kept in (
        ("/home/ann/data/mnist/", "mnist"),
        (r"C:\data\faces.zip", "faces.zip"),
        ("~/mnist", "mnist"),
        ("stackedmnist:/home/ann/mnist", "stackedmnist:mnist"),
        ("photos/cats", "photos/cats"),
        ("hf:owner/name", "hf:owner/name"),
        ("", ""),
    ):
        values = tiny_config.to_dict() | {"data": {"kind": "images", "path": given}}
        assert portable(RunConfig.from_dict(values)).data.path == kept
    assert portable(tiny_config) == tiny_config


def test_another_path_of_the_machine_is_refused(tiny_config: RunConfig) -> None:
    config = tiny_config.changed({"training.features": "/home/ann/features.pt"})
    with pytest.raises(ValueError, match=r"training\.features is '/home/ann/features.pt', .*relative path"):
        portable(config)


@pytest.mark.parametrize(
    ("text", "is_portable"),
    [
        ("ddgan train --data mnist/ --out runs/mnist", True),
        ("half of the images and/or labels, 1/2", True),
        ("see https://example.org/x", True),
        ("ddgan train --data /home/ann/mnist", False),
        ("ddgan train --data=~/mnist", False),
        (r"ddgan train --data D:\mnist", False),
        ("ddgan train --data '/srv/x y'", False),
    ],
)
def test_what_counts_as_a_path_of_a_machine(text: str, is_portable: bool) -> None:
    if is_portable:
        check_portable("command", text)
        assert described(command=text).command == text
    else:
        with pytest.raises(ValueError, match=r"^command is '"):
            described(command=text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../x"}, r"name is '../x'; it must be up to 40 lower-case"),
        ({"name": "X"}, "name is 'X'"),
        ({"commit": ""}, "commit is empty"),
        ({"limits": ()}, "limits is empty"),
        ({"good_for": ("a", " ")}, "good_for is empty"),
    ],
)
def test_a_description_is_whole(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        described(**changes)


def test_a_large_model_is_refused_before_it_is_scored(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MOST_BYTES", 1000)

    def score(model: TrainedModel) -> dict[str, Any]:
        raise AssertionError("it was scored")

    with pytest.raises(ValueError, match=r"too large to pack: its weights in bf16 have .*smaller generator"):
        pack(tiny_run.path, tmp_path / "tiny", described(), score)
    weights = 2 * tiny_run.model.num_parameters
    monkeypatch.setattr(packing, "MOST_BYTES", weights + 1)
    with pytest.raises(ValueError, match="too large to pack: its files have"):
        pack(tiny_run.path, tmp_path / "tiny", described(), unscored)
    assert list(tmp_path.iterdir()) == []


def test_only_a_packed_folder_is_replaced_and_only_when_asked(
    tiny_run: Run, packed: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(packed, tmp_path / "tiny"))
    with pytest.raises(ValueError, match="exists; choose another name or pass --overwrite"):
        pack(tiny_run.path, folder, described(), unscored)
    pack(tiny_run.path, folder, described(title="another"), unscored, overwrite=True)
    assert json.loads((folder / "model.json").read_text())["title"] == "another"
    (folder / "model.json").unlink()
    with pytest.raises(ValueError, match=r"has no model\.json of ddgan"):
        pack(tiny_run.path, folder, described(), unscored, overwrite=True)


def test_weights_keep_their_licence(tiny_run: Run, tmp_path: Path) -> None:
    pack(tiny_run.path, tmp_path / "one", described(license="cc-by-4.0"), unscored)
    with pytest.raises(ValueError, match=r"license is 'apache-2.0', but .* already have one: cc-by-4.0"):
        pack(tmp_path / "one", tmp_path / "two", described(), unscored)


def test_the_script_packs_and_scores_a_run(
    scored_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    about = script.texts()["digits"] | {"scores": {"n": 60, "metrics": ["speed"]}}
    monkeypatch.setattr(script, "texts", lambda: {"digits": about})
    script.main(
        ["digits", str(scored_run.path), "--out", str(tmp_path / "digits"), "--commit", "0123456789ab"]
    )
    assert "digits in" in capsys.readouterr().out
    found = packing.read_folder(tmp_path / "digits")
    assert found.scores["num_samples"] == 60
    assert found.scores["speed"]["images_per_second"] > 0
    assert found.training["commit"] == "0123456789ab"


@pytest.mark.parametrize("name", script.texts())
def test_the_texts_of_each_model_are_whole(name: str) -> None:
    about = script.texts()[name]
    found = script.description_of(name, about, "0123456789ab", "a laptop")
    assert found.command.startswith("ddgan train ")
    assert found.command.endswith(f" --out runs/{name}")
    assert {"n", "metrics", "features"} == set(about["scores"])
