"""What the tests share: settings small enough to train in a second, models and runs made from them.

The session-wide ones are made once; a test that changes a folder copies it first.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.metrics.classifier import MeasuredClassifier, digits_classifier
from ddgan.models import shipped_models
from ddgan.models.packing import pack
from described import TINY_SCORES, described
from tiny import DIGITS_SHAPE, POINTS_SHAPE, TINY_DIGITS, TINY_POINTS, hasten


@pytest.fixture
def tiny_settings() -> dict[str, Any]:
    """Plain settings of a run on stacked digits that takes about a second; the test may change them."""
    return copy.deepcopy(TINY_DIGITS)


@pytest.fixture
def tiny_points_settings() -> dict[str, Any]:
    """The same for the 25 Gaussians."""
    return copy.deepcopy(TINY_POINTS)


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    """`tiny_settings` as a configuration."""
    return RunConfig.from_dict(TINY_DIGITS)


@pytest.fixture(scope="session")
def tiny_points_config() -> RunConfig:
    """`tiny_points_settings` as a configuration."""
    return RunConfig.from_dict(TINY_POINTS)


@pytest.fixture
def tiny_yaml(tmp_path: Path, tiny_config: RunConfig) -> str:
    """The path of a YAML file with `tiny_settings`, outside of where outputs go."""
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_config.to_yaml(), encoding="utf-8")
    return str(path)


def lively(config: RunConfig, sample_shape: tuple[int, ...] = DIGITS_SHAPE) -> DDGAN:
    """A model with random weights whose samples differ visibly; a new generator's output is nearly 0."""
    rng = torch.Generator().manual_seed(0)
    generator = config.generator.build(sample_shape, config.conditions.shapes)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    return DDGAN(generator, config, sample_shape)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., DDGAN]:
    """Makes a model with random weights from a configuration, and a shape of samples (3 x 8 x 8)."""
    return lively


@pytest.fixture(scope="session")
def model(tiny_config: RunConfig) -> DDGAN:
    """A model of 8 x 8 images with random weights."""
    return lively(tiny_config)


@pytest.fixture(scope="session")
def points_model(tiny_points_config: RunConfig) -> DDGAN:
    """A model of points with random weights."""
    return lively(tiny_points_config, POINTS_SHAPE)


@pytest.fixture(scope="session")
def tiny_run(tiny_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained run without scores; read only."""
    return ddgan.train(tiny_config, tmp_path_factory.mktemp("tiny") / "run", verbose=False)


@pytest.fixture
def run_copy(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of `tiny_run`'s folder, to be changed."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run"))


@pytest.fixture(scope="session")
def packed(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tiny_run`, packed as a model called tiny; read only."""
    folder = tmp_path_factory.mktemp("shipped") / "tiny"
    pack(tiny_run.path, folder, described(), lambda model: TINY_SCORES)
    return folder


@pytest.fixture
def shipped(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only model that comes with the package is tiny; returns its folder."""
    monkeypatch.setattr(shipped_models, "FOLDER", packed.parent)
    return packed


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test touches the user's cache; what is kept is shared by a process, classifiers by all."""
    base = tmp_path_factory.getbasetemp()
    classifiers = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "classifiers"
    classifiers.mkdir(exist_ok=True)
    folder = tmp_path_factory.mktemp("cache")
    (folder / "classifiers").symlink_to(classifiers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDGAN_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def quick_work() -> Iterator[None]:
    """`hasten`, for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        yield


@pytest.fixture(scope="session")
def judge(session_cache: Path) -> MeasuredClassifier:
    """The classifier that reads digits: about eight seconds of training, in the first process that asks."""
    with FileLock(session_cache / "classifiers" / "judge.lock"):
        return digits_classifier()


@pytest.fixture(scope="session")
def scored_run(judge: MeasuredClassifier, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained run with scores and a report; read only."""
    settings = copy.deepcopy(TINY_DIGITS)
    settings["training"]["score_samples"] = 60
    return ddgan.train(
        RunConfig.from_dict(settings), tmp_path_factory.mktemp("scored") / "run", verbose=False
    )


@pytest.fixture(scope="session")
def scored_points_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same for points."""
    settings = copy.deepcopy(TINY_POINTS)
    settings["training"]["score_samples"] = 60
    return ddgan.train(
        RunConfig.from_dict(settings), tmp_path_factory.mktemp("points") / "run", verbose=False
    )
