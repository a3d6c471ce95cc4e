"""The command line, as a user meets it: what it prints, what it leaves, how it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from torch import Tensor

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.cli import main
from ddgan.config.presets import preset_names

Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, *arguments: str) -> str:
    """Run a command that must fail as bad input; returns its one line."""
    assert main(list(arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("ddgan: ")
    return lines[0]


# --- training ---------------------------------------------------------------------------------------


def test_train_sample_evaluate(tiny_yaml: str, tmp_path: Path, capsys: Capture) -> None:
    run = str(tmp_path / "run")
    assert main(["train", "--config", tiny_yaml, "--out", run, "--training.num_iterations", "2"]) == 0
    assert "trained after 2 iterations" in capsys.readouterr().err
    assert DDGAN.from_pretrained(run).config.training.num_iterations == 2

    assert main(["sample", run, "-n", "3", "--seed", "5", "--out", str(tmp_path / "x.npz")]) == 0
    assert "3 samples in" in capsys.readouterr().err
    with np.load(tmp_path / "x.npz") as file:
        assert file["images"].shape == (3, 8, 8, 3)

    scores = tmp_path / "scores.json"
    assert main(["evaluate", run, "-n", "50", "--metrics", "speed", "--out", str(scores)]) == 0
    assert "sampling speed" in capsys.readouterr().out
    assert json.loads(scores.read_text())["num_samples"] == 50


def test_evaluate_files_and_compare(tiny_run: Run, tmp_path: Path, capsys: Capture) -> None:
    names = []
    for seed in ("0", "1"):
        samples, scores = tmp_path / f"{seed}.npz", tmp_path / f"{seed}.json"
        assert main(["sample", str(tiny_run.path), "-n", "250", "--seed", seed, "--out", str(samples)]) == 0
        arguments = ["--data", "digits", "--metrics", "frechet", "precision_recall", "--features", "pixels"]
        assert main(["evaluate", str(samples), *arguments, "--out", str(scores)]) == 0
        assert "Fréchet distance (pixels features)" in capsys.readouterr().out
        names.append(str(scores))
    (tmp_path / "run").mkdir()
    names[1] = str(Path(names[1]).rename(tmp_path / "run" / "scores.json").parent)  # as a run has them
    page = tmp_path / "x.html"
    assert main(["evaluate", "--compare", *names, "--out", str(page)]) == 0
    assert "recall (higher is better)" in capsys.readouterr().out
    assert page.is_file()
    assert page.with_suffix(".png").is_file()
    again = tmp_path / "again.json"
    metrics = ["--metrics", "frechet", "--features", "pixels"]
    assert main(["evaluate", str(tiny_run.path), "-n", "250", *metrics, "--out", str(again)]) == 0
    first, second = (json.loads(path.read_text())["frechet"] for path in (tmp_path / "0.json", again))
    assert first == second  # a model scores as its saved samples


@pytest.mark.parametrize("name", preset_names())
def test_print_config_can_be_copied(name: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", "--preset", name, "--print_config"]) == 0
    text = capsys.readouterr().out
    assert RunConfig.from_dict(yaml.safe_load(text)) == RunConfig.load(name)
    copy = tmp_path / "mine.yaml"
    copy.write_text(text, encoding="utf-8")
    assert main(["train", "--config", str(copy), "--seed", "7", "--print_config"]) == 0
    assert capsys.readouterr().out == text.replace("seed: 0", "seed: 7")


def test_dotted_settings_override_the_preset(capsys: Capture) -> None:
    overrides = ["--diffusion.num_steps", "2", "--generator.base_channels=16", "--data", "digits"]
    overrides += ["--method.penalties", "[{kind: r2, gamma: 0.5}]", "--training.channels_last", "false"]
    overrides += ["--generator.channel_multipliers", "[1, 2]"]
    assert main(["train", "--preset", "cifar10", "--print_config", *overrides]) == 0
    config = RunConfig.from_dict(yaml.safe_load(capsys.readouterr().out))
    assert (config.diffusion.num_steps, config.data.kind) == (2, "digits")
    assert (config.generator.base_channels, config.generator.channel_multipliers) == (16, (1, 2))
    assert [(p.kind, p.gamma) for p in config.method.penalties] == [("r2", 0.5)]
    assert not config.training.channels_last


def test_another_kind_of_network_brings_its_own_settings(capsys: Capture) -> None:
    kinds = ["--generator.kind", "mlp", "--generator.hidden_features", "8"]
    assert main(["train", "--preset", "stackedmnist", "--print_config", *kinds]) == 0
    generator = yaml.safe_load(capsys.readouterr().out)["generator"]
    assert (generator["kind"], generator["hidden_features"]) == ("mlp", 8)
    assert "channel_multipliers" not in generator


@pytest.mark.parametrize("command", ["train", "train --preset gaussians", "sample", "evaluate"])
def test_help(command: str, capsys: Capture) -> None:
    try:
        code: object = main([*command.split(), "--help"])
    except SystemExit as ended:  # argparse's own way to end
        code = ended.code
    assert code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: ddgan {command.split()[0]}")
    assert len(text.splitlines()) > 5


def test_the_commands_are_listed(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    assert "evaluate" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == ddgan.__version__


def test_presets_without_their_data_say_what_they_need(tmp_path: Path, capsys: Capture) -> None:
    line = refused(capsys, "train", "--preset", "celebahq256", "--out", str(tmp_path / "run"))
    assert "names no data; pass --data with one of digits" in line
    assert not (tmp_path / "run").exists()


# --- refusals ---------------------------------------------------------------------------------------

WRONG = [
    (
        ["paint"],
        [
            "unknown command 'paint'",
            "plan, train, models, list, sample, edit, average, evaluate, export, convert",
        ],
    ),
    (["train"], ["--preset NAME", "digits_quick", "--config"]),
    (["train", "--preset", "digits_quick"], ["--out RUN"]),
    (["train", "--preset", "imagenet", "--out", "OUT"], ["'imagenet'", "cifar10"]),
    (["train", "--config", "nowhere.yaml", "--out", "OUT"], ["'nowhere.yaml'", "configuration file"]),
    (["train", "--preset", "digits", "--config", "x.yaml", "--out", "OUT"], ["name one"]),
    (["train", "--preset", "digits", "--out", "OUT", "--diffusion.num_steps", "0"], ["num_steps is 0"]),
    (
        ["train", "--preset", "digits", "--out", "OUT", "--diffusion.num_steps", "x"],
        ["num_steps is 'x'", "whole number"],
    ),
    (["train", "--preset", "digits", "--out", "OUT", "--diffusion.num_step", "4"], ["diffusion.num_steps"]),
    (["train", "--preset", "digits", "--out", "OUT", "--trainin.batch_size", "4"], ["training.batch_size"]),
    (
        ["train", "--preset", "cifar10", "--out", "OUT", "--generator.image_size", "30"],
        ["--generator.image_size is not a setting; did you mean --data.size?"],
    ),
    (
        ["train", "--preset", "digits", "--out", "OUT", "--size", "64"],
        ["--size", "digits has a fixed shape"],
    ),
    (
        ["train", "--preset", "digits", "--out", "OUT", "--training.compile"],
        ["--training.compile has no value"],
    ),
    (
        ["train", "--preset", "digits", "--out", "OUT", "training.compile"],
        ["'training.compile' belongs to no"],
    ),
    (
        ["train", "--preset", "digits", "--out", "OUT", "--data", "cats"],
        ["'cats'", "gaussians, single_digits"],
    ),
    (
        ["train", "--preset", "digits", "--out", "OUT", "--data", "gaussians"],
        ["shape [2]", "use the kind mlp"],
    ),
    (["train", "--preset", "digits", "--out", "OUT", "--generator.kind", "vit"], ["'vit'", "mlp, ncsnpp"]),
    (["train", "--preset", "digits", "--out", "OUT", "--seed", "-1"], ["seed is -1"]),
    (["train", "--preset", "digits", "--out", "USED"], ["not a run"]),
    (["train", "--preset", "digits", "--out", "FILE", "--overwrite"], ["is a file"]),
    (["sample", "RUN"], ["--out X.png"]),
    (["sample"], ["model"]),
    (["sample", "nowhere", "--out", "OUT"], ["'nowhere' does not exist", "run folder"]),
    (["sample", "USED", "--out", "OUT"], ["not a run folder", "model.safetensors"]),
    (["sample", "FILE", "--out", "OUT"], ["not a valid .safetensors file"]),
    (["sample", "RUN", "--out", "USED"], ["exists", "--overwrite"]),
    (["sample", "RUN", "--out", "OUT", "-n", "0"], ["n is 0"]),
    (["sample", "RUN", "--out", "OUT", "-n", "many"], ["many"]),
    (["sample", "RUN", "--out", "OUT", "--seed", "-3"], ["seed is -3"]),
    (["sample", "RUN", "--out", "OUT", "--batch_size", "0"], ["batch_size is 0"]),
    (["sample", "RUN", "--out", "OUT", "--device", "abacus"], ["abacus", "auto, cuda"]),
    (["sample", "RUN", "--out", "OUT", "--quality", "9"], ["--quality is not an option of 'ddgan sample'"]),
    (["evaluate", "RUN", "--metrics", "fid"], ["fid is not known", "frechet, kernel"]),
    (["evaluate", "RUN", "--data", "gaussians"], ["(3, 8, 8)", "(2,)"]),
    (["evaluate", "RUN", "--out", "FILE"], ["exists"]),
    (["evaluate", "RUN", "--features", "dino"], ["features 'dino' is not known", "inception"]),
    (["evaluate", "RUN", "--metrics", "frechet", "--features", "no.pt"], ["features 'no.pt' does not exist"]),
    (["evaluate", "USED"], ["not a run folder"]),
    (["evaluate", "nowhere.npz", "--data", "digits"], ["nowhere.npz' cannot be read"]),
    (["evaluate", "FILE"], ["not a valid .safetensors file"]),
    (["evaluate", "--compare", "a.json", "b.json"], ["a.json' cannot be read as JSON"]),
    (["evaluate", "--compare", "RUN", "RUN", "--out", "x.htm"], ["--out is 'x.htm'", "name it X.html"]),
    (["evaluate", "--compare", "FILE", "USED", "--out", "OUT.html"], ["is not a valid .safetensors file"]),
    (["evaluate", "--compare", "RUN"], ["a comparison needs two or more runs"]),
    (["list", "FILE"], ["is not a folder; name a folder of runs, or a run"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_bad_input_is_one_line_and_leaves_everything_alone(
    arguments: list[str], words: list[str], tiny_run: Run, tmp_path: Path, capsys: Capture
) -> None:
    used, file = tmp_path / "used", tmp_path / "file.safetensors"
    used.mkdir()
    (used / "notes.txt").write_text("mine")
    file.write_bytes(b"not weights")
    places = {"RUN": tiny_run.path, "USED": used, "FILE": file, "OUT": tmp_path / "out"}
    line = refused(capsys, *(str(places.get(argument, argument)) for argument in arguments))
    assert [word for word in words if word not in line] == [], line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.safetensors", "used"]
    assert [path.name for path in used.iterdir()] == ["notes.txt"]
    assert file.read_bytes() == b"not weights"


MEANT = {
    "--batch_size": "--training.batch_size?",
    "--num_iterations": "--training.num_iterations?",
    "--max_minutes": "--training.max_minutes?",
    "--num_steps": "--diffusion.num_steps?",
    "--lr": "--optimization.generator.lr or --optimization.discriminator.lr?",
    "--learning_rate": "--optimization.generator.lr and --optimization.discriminator.lr?",
    "--epochs": "--training.num_iterations, or --training.max_images?",
    "--T": "--diffusion.num_steps?",
    "--image_size": "--data.size?",
    "--num_classes": "--conditions.label.classes?",
    "--trainin.batch_size": "--training.batch_size?",
    "--optimization.lr": "--optimization.generator.lr or --optimization.discriminator.lr?",
}


@pytest.mark.parametrize("given", MEANT)
def test_the_setting_that_was_meant_is_named(given: str, tmp_path: Path, capsys: Capture) -> None:
    out = ["--out", str(tmp_path / "run")]
    line = refused(capsys, "train", "--preset", "digits_quick", given, "4", *out)
    assert line == f"ddgan: {given} is not a setting; did you mean {MEANT[given]}"


def test_size_is_what_images_are_prepared_at(capsys: Capture) -> None:
    arguments = ["--preset", "cifar10", "--data", "photos", "--size", "48"]
    assert main(["train", *arguments, "--print_config"]) == 0
    data = RunConfig.from_dict(yaml.safe_load(capsys.readouterr().out)).data
    assert (data.path, data.size) == ("photos", 48)


def test_an_error_inside_is_called_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def broken(arguments: list[str]) -> int:
        raise KeyError("inside")

    monkeypatch.setattr("ddgan.cli.sample.run", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["sample", "RUN"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ddgan: internal error of ddgan {ddgan.__version__} (KeyError: 'inside')")
    (details,) = tmp_path.iterdir()
    assert f"its details are in {details}" in line
    assert "command: ddgan sample RUN\n" in details.read_text()
    assert "Traceback (most recent call last):" in details.read_text()


def test_without_a_command_it_shows_the_commands(capsys: Capture) -> None:
    assert main([]) == 2
    assert "train" in capsys.readouterr().out


def test_truncated_weights_are_refused(run_copy: Path, tmp_path: Path, capsys: Capture) -> None:
    weights = run_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "not a valid .safetensors file" in refused(
        capsys, "sample", str(run_copy), "--out", str(tmp_path / "x.png")
    )


def test_overwrite_replaces_the_run_and_keeps_other_files(run_copy: Path, tiny_yaml: str) -> None:
    (run_copy / "notes.txt").write_text("mine")
    (run_copy / "scores.json").write_text("old")
    arguments = ["train", "--config", tiny_yaml, "--out", str(run_copy), "--overwrite"]
    assert main([*arguments, "--training.num_iterations", "1"]) == 0
    assert (run_copy / "notes.txt").read_text() == "mine"
    assert not (run_copy / "scores.json").exists()  # it belonged to the run that is gone
    assert DDGAN.from_pretrained(run_copy).config.training.num_iterations == 1


# --- Ctrl-C -----------------------------------------------------------------------------------------


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until the file has something in it."""
    for _ in range(1200):
        if path.is_file() and path.stat().st_size:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_ctrl_c_leaves_a_usable_run(tiny_yaml: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["--training.num_iterations", "1000000", "--training.log_every", "1"]
    command = [sys.executable, "-m", "ddgan", "train", "--config", tiny_yaml, "--out", str(run), *settings]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=one_thread)
    wait_for(run / "log.jsonl", process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by SIGINT after" in said
    assert "Traceback" not in said
    assert DDGAN.from_pretrained(run).sample(2).isfinite().all()
    assert (run / "samples.png").is_file()
    assert not list(run.glob(".*.partial-*"))


def test_sampling_continues_after_ctrl_c(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    batches = DDGAN.batches

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Tensor]:
        made = batches(*arguments, **options)
        yield next(made)
        signal.raise_signal(signal.SIGINT)
        yield from made

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for name in ("x.npz", "folder"):
            arguments = ["sample", str(tiny_run.path), "-n", "100", "--batch_size", "10"]
            arguments += ["--out", str(tmp_path / name)]
            with monkeypatch.context() as patch:
                patch.setattr(DDGAN, "batches", interrupted)
                assert main(arguments) == 130
            said = capsys.readouterr().err.splitlines()
            assert len(said) == 2
            assert "the samples so far are kept in" in said[0]
            assert said[1] == "interrupted"
            assert not (tmp_path / name).exists()
            assert main(arguments) == 0
            assert capsys.readouterr().err.startswith("continuing after 10 samples\n")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
