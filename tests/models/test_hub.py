"""Models by their Hub name: what is fetched, what is uploaded, and what is said when neither can be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import errors
from PIL import Image

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.models.card import model_card
from ddgan.system.text import markdown
from ddgan.training.trainer import resume


class Uploads:
    """Stands in for the Hub: keeps a copy of the folder that it was handed."""

    def __init__(self, keep: Path, token: str | None = None) -> None:
        self.keep = keep
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, token: str | None = None) -> Uploads:
        self.calls.append(("HfApi", {"token": token}))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> str:
        self.calls.append(("create_repo", {"repo_id": repo_id} | options))
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        self.calls.append(("upload_folder", {"repo_id": repo_id}))
        shutil.copytree(folder_path, self.keep)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uploads:
    stand_in = Uploads(tmp_path / "uploaded")
    monkeypatch.setattr(huggingface_hub, "HfApi", stand_in)
    return stand_in


def metadata(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---")[1])


def test_what_is_pushed_can_be_opened_and_read(scored_run: Run, uploads: Uploads) -> None:
    model = DDGAN.from_pretrained(scored_run.path)
    assert model.push_to_hub("me/digits", license="apache-2.0", private=True, token="x") == (
        "https://hub.example/me/digits"
    )
    assert uploads.calls == [
        ("HfApi", {"token": "x"}),
        ("create_repo", {"repo_id": "me/digits", "private": True, "exist_ok": True}),
        ("upload_folder", {"repo_id": "me/digits"}),
    ]
    names = ["README.md", "config.yaml", "model.safetensors", "samples.png", "scores.json"]
    assert sorted(path.name for path in uploads.keep.iterdir()) == names
    again = DDGAN.from_pretrained(uploads.keep)
    assert again.license == "apache-2.0"
    assert torch.equal(again.sample(3), model.sample(3))
    assert RunConfig.load(uploads.keep / "config.yaml") == model.config
    assert np.asarray(Image.open(uploads.keep / "samples.png")).shape[-1] == 3
    scores = json.loads((uploads.keep / "scores.json").read_text())
    assert scores == json.loads((scored_run.path / "scores.json").read_text())
    card = (uploads.keep / "README.md").read_text(encoding="utf-8")
    assert metadata(card)["license"] == "apache-2.0"
    for expected in ("# digits", "samples.png", '("me/digits")', "steps T | 3", "base_channels: 8"):
        assert expected in card
    assert f"| modes.modes | {scores['modes']['modes']} |" in card


def test_points_and_unscored_models_have_a_card_without_picture_and_scores(
    points_model: DDGAN, uploads: Uploads
) -> None:
    points_model.push_to_hub("me/points")
    assert sorted(path.name for path in uploads.keep.iterdir()) == [
        "README.md",
        "config.yaml",
        "model.safetensors",
    ]
    card = (uploads.keep / "README.md").read_text(encoding="utf-8")
    assert "license" not in metadata(card)
    assert "Not stated" in card
    assert "![" not in card
    assert "Scores" not in card


def test_a_licence_in_words_stays_with_the_weights(model: DDGAN, tmp_path: Path, uploads: Uploads) -> None:
    words = "Example Licence 1.0: for cats only; see https://example.org/cats, please"
    path = DDGAN(model.generator, model.config, model.sample_shape, words).save(tmp_path / "x.safetensors")
    again = DDGAN.from_pretrained(path)
    assert DDGAN.from_pretrained(again.save(tmp_path / "y.safetensors")).license == words
    with pytest.raises(ValueError, match="license is 'mit', but these weights already have one: Example"):
        again.push_to_hub("me/cats", license="mit")
    assert uploads.calls == []
    again.push_to_hub("me/cats")
    card = (uploads.keep / "README.md").read_text(encoding="utf-8")
    assert markdown(words) in card
    about = metadata(card)
    assert about["license"] == "other"
    assert about["license_name"] == "example-licence-1.0"
    assert about["license_link"] == "https://example.org/cats"


def test_what_is_trained_from_licensed_weights_carries_their_licence(
    tiny_run: Run, tiny_config: RunConfig, tmp_path: Path
) -> None:
    trained = tiny_run.model
    licensed = DDGAN(trained.generator, tiny_config, trained.sample_shape, "for cats only")
    begun = licensed.save(tmp_path / "x.safetensors")
    run = ddgan.train(tiny_config, tmp_path / "run", init=begun, verbose=False)
    assert DDGAN.from_pretrained(run.path).license == "for cats only"
    begun.unlink()
    assert resume(run.path, verbose=False).model.license == "for cats only"


def test_settings_in_the_card_are_the_models(model: DDGAN) -> None:
    card = model_card(model, "me/x")
    text = card.split("```yaml\n")[1].split("```")[0]
    assert RunConfig.from_dict(yaml.safe_load(text)) == model.config


def test_a_hub_name_is_fetched(tiny_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Any, ...]] = []

    def download(repo: str, filename: str, *, revision: str | None = None) -> str:
        asked.append((repo, filename, revision))
        return str(tiny_run.path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.chdir(tmp_path)
    model = DDGAN.from_pretrained("user/name")
    assert torch.equal(model.sample(2), tiny_run.model.sample(2))
    DDGAN.from_pretrained("user/na-me.x@v1.0")
    assert asked == [
        ("user/name", "model.safetensors", None),
        ("user/na-me.x", "model.safetensors", "v1.0"),
    ]


def test_a_local_path_wins(tiny_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run.path, tmp_path / "user" / "name")
    assert torch.equal(DDGAN.from_pretrained("user/name").sample(2), tiny_run.model.sample(2))
    for missing in ("user/other", "name", "a/b/c", str(tmp_path / "x"), ""):
        with pytest.raises(ValueError, match=r"does not exist|is not a run folder"):
            DDGAN.from_pretrained(missing)


RESPONSE = SimpleNamespace(headers={}, request=None, status_code=404)
FAILURES = [
    (errors.LocalEntryNotFoundError("Try again"), "no connection and no copy"),
    (errors.RepositoryNotFoundError("404", response=RESPONSE), "no such repository"),  # type: ignore[arg-type]
    (errors.RemoteEntryNotFoundError("404", response=RESPONSE), "no model.safetensors"),  # type: ignore[arg-type]
    (errors.RevisionNotFoundError("404", response=RESPONSE), "no such revision"),  # type: ignore[arg-type]
    (OSError("disk\nfull"), "disk full"),
]


@pytest.mark.parametrize(("failure", "words"), FAILURES, ids=[type(e).__name__ for e, _ in FAILURES])
def test_a_hub_that_does_not_answer_is_told_in_one_line(
    failure: Exception, words: str, model: DDGAN, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise failure

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"'user/name' does not exist locally .*: .*{words}"):
        DDGAN.from_pretrained("user/name")
    with pytest.raises(ValueError, match=r"'user/name' could not be uploaded to the Hub: ") as caught:
        model.push_to_hub("user/name")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("repo", ["name", "a/b/c", "user/", "../name x"])
def test_other_names_are_not_pushed_to(model: DDGAN, repo: str) -> None:
    with pytest.raises(ValueError, match="it must be user/name"):
        model.push_to_hub(repo)
