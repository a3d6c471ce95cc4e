"""`ddgan reproduce` as a user meets it: the list, the models, the refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ddgan.cli import main
from ddgan.paper.registry import EXPERIMENTS

Capture = pytest.CaptureFixture[str]
NAMES = {
    *("trilemma", "gaussians", "multimodal1d", "ablation", "stackedmnist", "cifar10", "celebahq256"),
    *("lsun_church256", "multimodality", "strokes", "stability", "neighbours"),
}


def test_the_list_has_every_name_with_what_each_scale_costs(capsys: Capture) -> None:
    assert set(EXPERIMENTS) == NAMES
    assert main(["reproduce", "--list"]) == 0
    text = capsys.readouterr().out
    for name, experiment in EXPERIMENTS.items():
        assert f"{name}  ({experiment.source})" in text
        assert experiment.command("paper") in text
        assert all(cost in text for cost in experiment.costs.values())
    assert text.count("not offered") == 3
    assert "ddgan-t4" in text
    assert text.count("torchrun") == 10


def test_help(capsys: Capture) -> None:
    assert main(["reproduce", "--help"]) == 0
    assert "--scale" in capsys.readouterr().out


WRONG = [
    (["trilemma"], ["reproduce needs NAME, --scale smoke|cpu|paper and --out DIR"]),
    (["--scale", "smoke", "--out", "OUT"], ["reproduce needs NAME"]),
    (["table9", "--scale", "smoke", "--out", "OUT"], ["unknown experiment table9", "trilemma"]),
    (["trilemma", "--scale", "laptop", "--out", "OUT"], ["scale is 'laptop'", "smoke, cpu, paper"]),
    (["models", "--scale", "laptop", "--out", "OUT"], ["scale is 'laptop'"]),
    (["cifar10", "--scale", "cpu", "--out", "OUT"], ["cifar10 has no scale cpu", "smoke or paper"]),
    (["stability", "--scale", "smoke", "--out", "OUT", "--data", "x"], ["--data is for scale paper"]),
    (["stability", "--scale", "smoke", "--out", "OUT", "--seeds", "-1"], ["--seeds are -1"]),
    (["stability", "--scale", "smoke", "--out", "OUT", "--seeds", "1", "1"], ["given once"]),
    (["stability", "--scale", "smoke", "--out", "OUT", "--seeds", "x"], ["seeds"]),
    (["stability", "--scale", "smoke", "--out", "OUT", "--names", "gan"], ["--names needs models"]),
    (["models", "--scale", "smoke", "--out", "OUT", "--names", "vae"], ["no model vae", "ddgan-t4"]),
    (["stability", "--scale", "smoke", "--out", "FILE"], ["which is a file"]),
    (["stability", "--scal", "smoke", "--out", "OUT"], ["scal"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_bad_input_is_one_line(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(file)}
    assert main(["reproduce", *(places.get(argument, argument) for argument in arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("ddgan: ")
    assert [word for word in words if word not in line] == [], line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_data_of_one_experiment_is_not_another_s(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    wanted = ["reproduce", "all", "--scale", "paper", "--out", "out", "--data", "cifar-10-python.tar.gz"]
    assert main(wanted) == 2
    line = capsys.readouterr().err
    assert "these experiments need different data; run them one by one" in line
    assert "stackedmnist: stackedmnist:MNIST" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would start the full setting")
def test_a_model_of_scale_paper_alone_needs_a_gpu_too(tmp_path: Path, capsys: Capture) -> None:
    wanted = ["reproduce", "models", "--names", "stackedmnist-gan", "--scale", "paper", "--data", "x"]
    assert main([*wanted, "--out", str(tmp_path / "out")]) == 2
    assert "scale paper needs CUDA GPUs" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would start the full setting")
@pytest.mark.parametrize("name", sorted(NAMES - {"multimodal1d"}))
def test_without_a_gpu_paper_tells_the_command_and_its_hours(
    name: str, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["reproduce", name, "--scale", "paper", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "scale paper needs CUDA GPUs" in line
    for command in EXPERIMENTS[name].paper_commands(str(tmp_path / "out")):
        assert command in line
    assert " h " in line
    assert not (tmp_path / "out").exists()


def test_models_can_be_trained_alone(smoke_folder: Path, capsys: Capture) -> None:
    command = ["reproduce", "models", "--scale", "smoke", "--out", str(smoke_folder)]
    assert main([*command, "--names", "gaussians-gan", "gaussians-ddpm", "--seeds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split("  ")[0]).name for line in lines] == [
        "gaussians-gan-seed0",
        "gaussians-ddpm-seed0",
    ]
    assert all(line.endswith(" min") for line in lines)
