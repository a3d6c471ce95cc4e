"""Training, and the folder that it leaves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import ddgan
from ddgan import Run, RunConfig
from ddgan.data.batch import EVERY, Batch
from ddgan.models.run_folder import read_log
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.system.outputs import read_record
from ddgan.training.console import Logger
from ddgan.training.setup import training_inputs
from steps import ALONE


def test_a_run_leaves_what_it_says(tiny_run: Run, tiny_config: RunConfig) -> None:
    assert {file.name for file in tiny_run.path.iterdir()} == {
        ".ddgan-run",
        ".lock",
        "checkpoints",
        "config.yaml",
        "data.png",
        "ending.json",
        "log.jsonl",
        "model.safetensors",
        "report.html",
        "samples.png",
    }
    assert RunConfig.from_dict(yaml.safe_load((tiny_run.path / "config.yaml").read_text())) == tiny_config
    assert [record["step"] for record in read_log(tiny_run.path / "log.jsonl")] == [2, 4, 5]
    record = read_log(tiny_run.path / "log.jsonl")[0]
    assert {"loss_d", "loss_g_by_t", "r1", "lr_g", "lr_d", "images_per_second"} <= record.keys()
    assert len(record["loss_g_by_t"]) == 3
    assert not tiny_run.interrupted
    picture = Image.open(tiny_run.path / "samples.png")
    assert picture.size == (8 * 64 + 7, 8 * 64 + 7)


def test_a_scored_run_has_scores_and_a_page(scored_run: Run) -> None:
    assert scored_run.report is not None
    scores = read_record(scored_run.path / "scores.json")
    assert scores == json.loads(json.dumps(scored_run.report.to_dict()))
    assert scores["num_samples"] == scores["modes"]["num_samples"] == 60
    assert (scored_run.path / "report.html").stat().st_size > 10_000


def test_points_have_no_grid_of_images(scored_points_run: Run) -> None:
    assert not (scored_points_run.path / "samples.png").exists()
    assert (scored_points_run.path / "report.html").is_file()


def test_the_same_seed_trains_the_same_and_another_does_not(
    tiny_run: Run, tiny_config: RunConfig, tmp_path: Path
) -> None:
    torch.manual_seed(99)  # the state of torch's own generator is of no consequence
    same = ddgan.train(tiny_config, tmp_path / "same", verbose=False)
    other = ddgan.train(tiny_config, tmp_path / "other", seed=4, verbose=False)
    expected = tiny_run.model.generator.state_dict()
    for name, tensor in same.model.generator.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert other.model.config == dataclasses.replace(tiny_config, seed=4)
    assert not torch.equal(other.model.sample(2), tiny_run.model.sample(2))


def test_training_does_not_disturb_torchs_random_state(tiny_config: RunConfig, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ddgan.train(tiny_config, tmp_path / "run", verbose=False)
    assert torch.equal(torch.rand(3), expected)


def test_inputs_depend_on_the_iteration_and_flips_on_the_seed(tiny_config: RunConfig) -> None:
    class Ramp:
        sample_shape, conditions = (3, 8, 8), ConditionShapes(num_classes=5)

        def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
            x = torch.arange(8.0).expand(size, 3, 8, 8) + step
            return Batch(x, Condition(label=torch.arange(size) % 5)).rows(rows)

    plain = training_inputs(tiny_config, Ramp(), ALONE)
    (x, condition), noise = plain(2)
    assert torch.equal(x, Ramp().batch(2, 8).x)
    assert condition is None  # without conditions.label they are ignored
    assert noise.generator.z.shape == (8, 4)
    config = tiny_config.changed({"augmentation": [{"kind": "horizontal_flip"}], "training.batch_size": 64})
    flipping = training_inputs(config, Ramp(), ALONE)
    x = flipping(2)[0].x
    flipped = x[:, 0, 0, 0] == 9
    assert 10 < flipped.sum() < 54
    assert torch.equal(x[flipped], Ramp().batch(2, 64).x[flipped].flip(-1))
    assert torch.equal(x, flipping(2)[0].x)
    assert not torch.equal(flipped, flipping(3)[0].x[:, 0, 0, 0] == 10)


def test_labels_are_dropped_as_often_as_asked(tiny_config: RunConfig) -> None:
    class Labelled:
        sample_shape, conditions = (3, 8, 8), ConditionShapes(num_classes=5)

        def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
            return Batch(torch.zeros(size, 3, 8, 8), Condition(label=torch.arange(size) % 5)).rows(rows)

    def labels(dropout: float, step: int = 0) -> torch.Tensor:
        label = {"classes": 5, "dropout": dropout}
        config = tiny_config.changed({"training.batch_size": 1000, "conditions.label": label})
        given = training_inputs(config, Labelled(), ALONE)(step)[0].label
        assert given is not None
        return given

    assert torch.equal(labels(0.0), torch.arange(1000) % 5)
    assert (labels(1.0) == 5).all()
    dropped = labels(0.3) == 5
    assert 230 < dropped.sum() < 370
    assert torch.equal(labels(0.3)[~dropped], (torch.arange(1000) % 5)[~dropped])
    assert torch.equal(labels(0.3), labels(0.3))
    assert not torch.equal(labels(0.3), labels(0.3, step=1))


def test_a_used_folder_is_refused_before_anything_happens(run_copy: Path, tiny_config: RunConfig) -> None:
    before = {file: file.read_bytes() for file in run_copy.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match=r"exists; name another folder or pass --overwrite"):
        ddgan.train(tiny_config, run_copy, verbose=False)
    assert {file: file.read_bytes() for file in run_copy.rglob("*") if file.is_file()} == before
    with pytest.raises(ValueError, match="which is a file; name a folder"):
        ddgan.train(tiny_config, run_copy / "config.yaml", overwrite=True, verbose=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": ""}, "names no data; pass --data with one of digits"),
        ({"data": "cats"}, "'cats', which does not exist; pass --data with one of digits"),
        (
            {"data": "gaussians"},
            r"generator.kind is ncsnpp, .* but the samples have shape \[2\]",
        ),
        (
            {"generator.channel_multipliers": [1] * 5},
            r"halves the size 4 times, but .* size 8 x 8;",
        ),
        (
            {"training.num_iteration": 3},
            "training.num_iteration is not a setting; did you mean",
        ),
        ({"num_iterations": 3}, "num_iterations is not a setting; did you mean training.num_iterations?"),
        ({"conditions.label": {"classes": 7}}, "conditions.label.classes is 7, but digits has 1000 classes"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_mistakes_leave_no_folder(
    tiny_config: RunConfig, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ddgan.train(tiny_config, tmp_path / "run", verbose=False, **changes)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_settings_are_overridden_by_dotted_name(tiny_config: RunConfig, tmp_path: Path) -> None:
    overrides = {"training.num_iterations": 2, "optimization.generator": {"kind": "sgd", "lr": 0.1}}
    run = ddgan.train(tiny_config, tmp_path / "run", verbose=False, **overrides)
    assert run.model.config == tiny_config.changed(overrides)
    assert read_log(run.path / "log.jsonl")[-1]["step"] == 2


def test_the_logger_is_silent_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    Logger(verbose=False)("quiet")
    Logger(verbose=True)("loud")
    assert capsys.readouterr().err == "loud\n"
