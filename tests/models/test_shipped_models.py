"""Models that come with the package: what a name opens, and what is said of unknown and damaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from docs.results import models as script

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.config.presets import preset_names
from ddgan.models import shipped_models
from ddgan.models.packing import MOST_BYTES, portable
from ddgan.models.run_folder import SCORES_NAME
from ddgan.models.shipped_models import FOLDER, folder_of, known_names, shipped_model
from ddgan.models.shipped_models import shipped_models as all_models
from ddgan.reports.alike import score_alike
from ddgan.system.outputs import write_record
from described import TINY_SCORES

MOST_IN_ALL = 12 * 10**6
"""Bytes of all models, so that the package stays below 25 MB."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_opens_the_model_of_the_package(shipped: Path, here: Path) -> None:
    model = DDGAN.from_pretrained("tiny")
    assert model.source == shipped / "model.safetensors"
    assert model.license == "apache-2.0"
    assert torch.equal(ddgan.load("tiny").sample(3), model.sample(3))
    assert torch.equal(ddgan.load(Path("tiny")).sample(3), model.sample(3))


def test_a_path_of_that_name_takes_precedence(shipped: Path, here: Path, tiny_run: Run) -> None:
    shutil.copytree(tiny_run.path, here / "tiny")
    assert ddgan.load("tiny").source == Path("tiny/model.safetensors")
    assert folder_of("tiny") == Path("tiny")
    assert folder_of("./tiny") == Path("tiny")
    shutil.rmtree(here / "tiny")
    assert folder_of("tiny") == shipped
    with pytest.raises(ValueError, match="does not exist"):
        ddgan.load("./tiny")


def test_a_folder_that_hides_a_model_is_named(shipped: Path, here: Path) -> None:
    (here / "tiny").mkdir()
    with pytest.raises(ValueError, match="it hides the model of this name that comes with ddgan"):
        ddgan.load("tiny")


def test_an_unknown_name_says_which_exist(shipped: Path, here: Path) -> None:
    for source, hint in (("tinny", "did you mean tiny. "), ("cathedral", "the models")):
        with pytest.raises(
            ValueError, match=f"^'{source}' does not exist; {hint}.*that come with ddgan are tiny; or give"
        ):
            ddgan.load(source)
    with pytest.raises(ValueError, match=r"^'x' does not come with ddgan; the models .* are tiny$"):
        shipped_model("x")


def test_without_models_the_message_names_none(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped_models, "FOLDER", tmp_path / "missing")
    assert all_models() == []
    with pytest.raises(ValueError, match=r"^'tiny' does not exist; give a run folder"):
        ddgan.load("tiny")
    with pytest.raises(ValueError, match="no models come with this version"):
        shipped_model("tiny")


def test_it_has_one_ema(shipped: Path, here: Path) -> None:
    with pytest.raises(ValueError, match="ema is 50, but the model tiny comes with one EMA; leave it out"):
        ddgan.load("tiny", ema=50)


def test_the_description_says_what_the_model_says(shipped: Path) -> None:
    (about,) = all_models()
    model = DDGAN.from_pretrained(shipped)
    assert (about.name, about.path, about.nfe, about.num_steps) == ("tiny", shipped, model.nfe, 3)
    assert (about.sample_shape, about.num_classes) == (model.sample_shape, 0)
    assert (about.parameters, about.license) == (model.num_parameters, "apache-2.0")
    assert about.size == (shipped / "model.safetensors").stat().st_size
    assert about.scores == TINY_SCORES
    assert about.training["iterations"] == 5
    assert about.training["images"] == 40
    assert "# tiny" in about.card


def test_a_training_starts_from_it(shipped: Path, here: Path, tiny_config: RunConfig) -> None:
    """Its licence goes with the weights; a discriminator that lies in the current folder is not its own."""
    (here / "discriminator.safetensors").write_bytes(b"something else")
    config = tiny_config.changed({"training.num_iterations": 1, "optimization.generator.lr": 1e-9})
    run = ddgan.train(config, here / "run", init="tiny", verbose=False)
    assert run.model.license == "apache-2.0"
    for ours, theirs in zip(
        run.model.generator.parameters(), ddgan.load("tiny").generator.parameters(), strict=True
    ):
        assert float((ours - theirs).abs().max()) < 1e-6


def test_its_scores_are_known_in_a_comparison_and_nothing_is_written_beside_it(
    shipped: Path, here: Path
) -> None:
    before = sorted(shipped.iterdir())
    write_record(here / "a.json", TINY_SCORES | {"modes": {"kl": 0.5, "modes": 6}})
    lines: list[str] = []
    compared = score_alike([Path("tiny"), Path("a.json")], lines.append)
    assert [report["modes"]["kl"] for report in compared.reports] == [0.25, 0.5]
    assert lines == []  # nothing is computed
    assert sorted(shipped.iterdir()) == before


@pytest.mark.parametrize("name", ["model.json", SCORES_NAME])
def test_a_damaged_description_is_refused_in_one_line(
    name: str, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(packed, tmp_path / "shipped" / "tiny"))
    monkeypatch.setattr(shipped_models, "FOLDER", folder.parent)
    (folder / name).write_text("{}")
    if name == "model.json":
        with pytest.raises(ValueError, match="does not describe a model of ddgan; install ddgan again"):
            all_models()
    (folder / name).write_text("{")
    with pytest.raises(ValueError, match="cannot be read as JSON") as caught:
        all_models()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", known_names())
def test_what_comes_with_the_package_is_what_the_script_says(name: str) -> None:
    """Run for each committed model, if there are any."""
    about, texts = shipped_model(name), script.texts()[name]
    assert sum(file.stat().st_size for file in about.path.iterdir()) <= MOST_BYTES
    assert (about.title, about.license, about.training["command"]) == (
        texts["title"],
        texts["license"],
        texts["command"],
    )
    assert about.data_license == texts["data"]["license"]
    assert about.scores
    model = ddgan.load(name)
    assert portable(model.config) == model.config == RunConfig.load(about.path / "config.yaml")
    assert tuple(model.sample(2).shape) == (2, *about.sample_shape)
    for text in ("## Data", "## Limits", "## What it is good for", texts["command"]):
        assert text in about.card


@pytest.mark.parametrize("name", script.texts())
def test_the_command_that_trains_a_model_names_a_preset(name: str) -> None:
    words = script.texts()[name]["command"].split()
    assert words[words.index("--preset") + 1] in preset_names()


def test_all_of_them_leave_room_in_the_package() -> None:
    assert sum(file.stat().st_size for file in FOLDER.glob("*/*")) <= MOST_IN_ALL
