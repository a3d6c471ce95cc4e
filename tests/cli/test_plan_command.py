"""`ddgan plan`, and `ddgan train` without a preset, as a user meets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from test_main import Capture, refused

from ddgan import RunConfig
from ddgan.cli import main
from ddgan.planning import cost

SMALL = ["--size", "16", "--training.batch_size", "4", "--generator.network.base_channels", "8"]


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cost, "SECONDS", 0.1)


@pytest.fixture
def photos(tmp_path: Path) -> str:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (20 + i, 24, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_text("no image")
    return str(folder)


def test_a_folder_is_enough_to_train(photos: str, tmp_path: Path, capsys: Capture) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", photos, "--out", str(run), *SMALL, "--training.num_iterations", "2"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert f"plan for {photos}" in said
    assert "'broken.png'" in said
    assert "trained after 2 iterations" in said
    config = RunConfig.load(run / "config.yaml")
    assert (config.data.path, config.data.size, config.training.batch_size) == (photos, 16, 4)
    assert main(command) == 2  # at once: the folder is taken
    assert "plan for" not in capsys.readouterr().err


def test_the_plan_is_printed_or_its_settings(photos: str, capsys: Capture) -> None:
    assert main(["plan", "--data", photos, "--minutes", "90", *SMALL]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"plan for {photos}: 1.5 h of training on this machine")
    assert "measuring some iterations" in output.err
    assert main(["plan", "--data", photos, *SMALL, "--print_config"]) == 0
    config = RunConfig.from_dict(yaml.safe_load(capsys.readouterr().out))
    assert (config.training.max_minutes, config.data.size) == (60, 16)
    assert main(["train", "--data", photos, *SMALL, "--print_config"]) == 0
    assert RunConfig.from_dict(yaml.safe_load(capsys.readouterr().out)).generator == config.generator


def test_minutes_are_those_of_a_preset_too(capsys: Capture) -> None:
    assert main(["train", "--preset", "digits", "--minutes", "5", "--print_config"]) == 0
    assert RunConfig.from_dict(yaml.safe_load(capsys.readouterr().out)).training.max_minutes == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "plan needs --data DATA, for which settings are chosen, --preset NAME (celebahq256"),
        (["--data", "PHOTOS", "--memory", "24"], "memory is '24'; it must be a number and a unit"),
        (["--data", "PHOTOS", "--minutes", "0"], "minutes is 0; it must be above 0"),
        (["--data", "PHOTOS", "--minutes", "soon"], "--minutes is 'soon'; it must be a number"),
        (["--data", "PHOTOS", "--device", "tpu"], "device is 'tpu'; it must be one of"),
        (
            ["--data", "PHOTOS", "--batch_size", "3"],
            "--batch_size is not a setting; did you mean --training.",
        ),
        (
            ["--data", "PHOTOS", "--devize", "cpu"],
            "--devize is not a setting; did you mean --training.device?",
        ),
        (["--data", "PHOTOS", "--size", "big"], "data.size is 'big'; it must be a whole number"),
        (["--data", "nowhere"], "data is 'nowhere', which does not exist"),
        (["--preset", "digits", "--config", "x.yaml"], "--preset and --config were both given"),
        (["PHOTOS"], "belongs to no option"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    arguments: list[str], message: str, photos: str, capsys: Capture
) -> None:
    given = [photos if argument == "PHOTOS" else argument for argument in arguments]
    assert message in refused(capsys, "plan", *given)


def test_several_processes_need_a_file(photos: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    line = refused(capsys, "train", "--data", photos, "--out", "x")
    assert "settings are chosen for one process; write them to a file by ddgan plan --print_config" in line
