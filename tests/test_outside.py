"""What is added from outside the package: one file each, trained, saved, opened, scored, and missed.

The files are in tests/outside, as a user would write them; a process that does not import them does not know
them.
"""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import ddgan
from ddgan import RunConfig
from ddgan.cli import main
from ddgan.config.components import kinds
from ddgan.models.run_folder import read_log
from tiny import TINY_DIGITS, TINY_POINTS

FILES = Path(__file__).parent / "outside"
ADDED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "own_generator": ("generator", "one_layer", {"generator": {"kind": "one_layer", "width": 16}}),
    "own_discriminator": (
        "discriminator",
        "linear",
        {"method.discriminators.pair": {"kind": "linear", "bias": False}},
    ),
    "own_loss": ("adversarial", "hinge", {"method.adversarial": {"kind": "hinge"}}),
    "own_data": ("data", "rings", {"data": {"kind": "rings", "count": 4}, "conditions.label": {}}),
    "own_method": (
        "method",
        "averaging",
        {"method": {"kind": "averaging", "distance": {"kind": "l1"}}, "generator.latent_size": 0},
    ),
}
"""By file: the slot, the kind, and the settings that choose it."""


@pytest.fixture(params=ADDED)
def file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a file of a user, which can be imported."""
    monkeypatch.syspath_prepend(str(FILES))
    name: str = request.param
    return name


def config_of(file: str) -> RunConfig:
    base = copy.deepcopy(TINY_POINTS if file == "own_data" else TINY_DIGITS)
    return RunConfig.from_dict(base).changed(ADDED[file][2])


def test_it_is_trained_saved_opened_and_scored(file: str, tmp_path: Path) -> None:
    __import__(file)
    slot, kind, _ = ADDED[file]
    assert kind in kinds(slot)
    run = ddgan.train(config_of(file), tmp_path / "run", verbose=False)
    settings = (tmp_path / "run" / "config.yaml").read_text()
    assert f"kind: {kind}" in settings
    assert RunConfig.from_dict(yaml.safe_load(settings)) == run.model.config
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["loss_g"] is not None
    again = ddgan.load(run.model.save(tmp_path / "file.safetensors"))
    assert again.config == run.model.config
    assert torch.equal(again.sample(3), run.model.sample(3))
    report = ddgan.evaluate(again, metrics=["frechet"], n=40, features="pixels")
    assert report.frechet is not None
    assert report.frechet.value > 0


def command(*arguments: str, python_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which knows what lies in `python_path`."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    if python_path is not None:
        variables |= {"PYTHONPATH": str(python_path)}
    return subprocess.run(
        [sys.executable, "-m", "ddgan", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )


def test_the_command_line_imports_it_and_misses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FILES))
    __import__("own_generator")
    path, run = tmp_path / "config.yaml", str(tmp_path / "run")
    path.write_text(config_of("own_generator").to_yaml())
    own = ["--import", "own_generator"]
    trained = command("train", *own, "--config", str(path), "--out", run, python_path=FILES)
    assert trained.returncode == 0, trained.stderr
    out = str(tmp_path / "samples.npz")
    assert main(["sample", run, *own, "-n", "4", "--out", out]) == 0
    missed = command("sample", run, "--out", str(tmp_path / "other.npz"))
    assert missed.returncode == 2
    (line,) = missed.stderr.strip().splitlines()
    assert line.startswith("ddgan: ")
    assert "generator.kind is 'one_layer', which is not a known kind of generator" in line
    assert "--import PACKAGE" in line
    unknown = command("sample", run, "--import", "no_such_package", "--out", out + "2.npz")
    assert unknown.returncode == 2
    assert len(unknown.stderr.strip().splitlines()) == 1
    assert "no_such_package" in unknown.stderr


def test_an_entry_point_makes_a_kind_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installed package declares it; no --import is needed."""
    monkeypatch.syspath_prepend(str(FILES))
    __import__("own_loss")
    site = tmp_path / "site"
    about = site / "own_loss-1.0.dist-info"
    about.mkdir(parents=True)
    shutil.copy(FILES / "own_loss.py", site)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own_loss\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ddgan.components]\nown_loss = own_loss\n")
    path = tmp_path / "config.yaml"
    path.write_text(config_of("own_loss").to_yaml())
    run = str(tmp_path / "run")
    trained = command("train", "--config", str(path), "--out", run, python_path=site)
    assert trained.returncode == 0, trained.stderr
    assert ddgan.load(run).config.method.adversarial.kind == "hinge"


def test_a_kind_registered_twice_is_refused(file: str) -> None:
    __import__(file)
    slot, kind, _ = ADDED[file]
    with pytest.raises(ValueError, match=rf"{slot} '{kind}' is registered twice: by {file}\..* and by"):

        @ddgan.register(slot, kind)
        class Another:
            pass


def test_a_slot_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="slot is 'sampler'; it must be one of schedule, adversarial"):
        ddgan.register("sampler", "mine")


def test_settings_that_do_not_fit_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FILES))
    __import__("own_generator")
    for settings, words in (
        ({"kind": "one_layer", "width": 0}, "generator.width is 0; it must be at least 1"),
        (
            {"kind": "one_layer", "widht": 3},
            "generator.widht is not a setting; did you mean generator.width?",
        ),
        ({"kind": "one_layr"}, "generator.kind is 'one_layr', which is not a known kind of generator"),
        ({}, "generator.kind is missing"),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011 (the words follow)
            RunConfig.from_dict(copy.deepcopy(TINY_DIGITS) | {"generator": settings})
        assert words in str(error.value)
        assert "\n" not in str(error.value)
