"""The graphs compute in onnxruntime what the model computes in PyTorch, or are not kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor

from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.export import onnx
from ddgan.export.onnx import chain_inputs, export_onnx, run_onnx
from ddgan.system.randomness import ImageNoise
from other_methods import OTHERS, model_of


@pytest.fixture(scope="module")
def image_model() -> DDGAN:
    """Fully connected, of 1 x 6 x 6 images of two classes, T = 3."""
    generator = {"kind": "mlp", "hidden_features": 16, "num_blocks": 1, "latent_size": 5, "tanh": True}
    settings: dict[str, Any] = {
        "conditions": {"label": {"classes": 2}},
        "generator": generator,
        "diffusion": {"num_steps": 3},
    }
    config, shape = RunConfig.from_dict(settings), (1, 6, 6)
    network = config.generator.build(shape, config.conditions.shapes)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=rng))
    return DDGAN(network, config, shape, "for cats only")


@pytest.fixture(scope="module")
def exported(image_model: DDGAN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the command line exports it."""
    place = tmp_path_factory.mktemp("onnx")
    weights, folder = image_model.save(place / "model.safetensors"), place / "new" / "folder"
    assert main(["export", str(weights), "--to", "onnx", "--out", str(folder)]) == 0
    return folder


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("n", [1, 5])
def test_the_chain_makes_the_models_samples(image_model: DDGAN, exported: Path, n: int) -> None:
    (made,) = run_onnx(exported / "chain.onnx", chain_inputs(image_model, n, seed=8))
    expected = image_model.sample(n, seed=8)
    assert apart(made, expected) < 1e-4
    assert n == 1 or expected.std(dim=0).mean() > 0.05  # the samples differ


def test_the_steps_one_by_one_make_the_models_samples(image_model: DDGAN, exported: Path) -> None:
    noise = ImageNoise(8, range(4))
    x = noise(1, 6, 6)
    for t in (3, 2, 1):
        inputs = {"x_t": x, "t": torch.full((4,), t), "z": noise(5), "noise": noise(1, 6, 6)}
        x, _ = run_onnx(exported / "step.onnx", inputs | {"y": torch.arange(4) % 2})
    assert apart(x, image_model.sample(4, seed=8)) < 1e-4


def test_the_class_is_an_input(image_model: DDGAN, exported: Path) -> None:
    inputs = chain_inputs(image_model, 3, seed=1)
    (made,) = run_onnx(exported / "chain.onnx", inputs | {"y": torch.tensor([1, 2, 0])})
    assert apart(made, image_model.sample(3, seed=1, classes=[1, 2, 0])) < 1e-4
    assert apart(made, image_model.sample(3, seed=1)) > 1e-3


def test_the_files_say_what_they_are(image_model: DDGAN, exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md",
        "chain.onnx",
        "export.json",
        "step.onnx",
    ]
    inputs = {
        "step.onnx": {"x_t": [1, 6, 6], "t": [], "z": [5], "noise": [1, 6, 6], "y": []},
        "chain.onnx": {"x_T": [1, 6, 6], "z": [3, 5], "noise": [3, 1, 6, 6], "y": []},
    }
    for name, expected in inputs.items():
        session = onnxruntime.InferenceSession(exported / name)
        assert {i.name: i.shape[1:] for i in session.get_inputs()} == expected
        assert all(i.shape[0] == "batch" for i in session.get_inputs())
        metadata = session.get_modelmeta().custom_metadata_map
        assert metadata["license"] == "for cats only"
        assert RunConfig.from_dict(json.loads(metadata["config"])) == image_model.config
        assert json.loads(metadata["sample_shape"]) == [1, 6, 6]
    record = json.loads((exported / "export.json").read_text())
    assert max(record["largest_difference"].values()) <= 1e-4
    assert "for cats only" in (exported / "README.md").read_text(encoding="utf-8")


def test_the_same_model_is_the_same_files_in_every_process(exported: Path, tmp_path: Path) -> None:
    weights, folder = exported.parents[1] / "model.safetensors", tmp_path / "folder"
    command = [sys.executable, "-m", "ddgan", "export", str(weights), "--to", "onnx", "--out", str(folder)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    for path in exported.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_code_of_the_card_runs(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall("```python\n(.*?)```", (exported / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(exported)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["images"].shape == (8, 1, 6, 6)
    assert list(names["inputs"]["y"]) == [0, 1] * 4


def test_inputs_without_a_use_are_left_out(
    tiny_points_settings: dict[str, Any], make_model: Callable[..., DDGAN], tmp_path: Path
) -> None:
    tiny_points_settings["generator"] |= {"latent_size": 0, "num_blocks": 1}
    tiny_points_settings["diffusion"] = {"num_steps": 2, "prediction": "x_prev"}
    model = make_model(RunConfig.from_dict(tiny_points_settings), (2,))
    onnx._write(onnx.ChainGraph(model), tmp_path / "chain.onnx")
    assert list(chain_inputs(model, 4)) == ["x_T"]
    (made,) = run_onnx(tmp_path / "chain.onnx", chain_inputs(model, 4))
    assert apart(made, model.sample(4)) < 1e-4


def test_a_graph_that_differs_is_not_kept(
    points_model: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "_write", lambda graph, path: path.write_bytes(b""))
    monkeypatch.setattr(onnx, "run_onnx", lambda path, inputs: [torch.zeros(len(inputs["t"]), 2)] * 2)
    with pytest.raises(ValueError, match=r"step.onnx differs from PyTorch by .*; nothing was kept"):
        export_onnx(points_model, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", OTHERS)
def test_models_of_other_methods_are_refused_by_name(method: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"trained by the method {method}, but an export to ONNX needs"):
        export_onnx(model_of(method), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "shape",
    [(3, 8, 8), (1, 4, 8), pytest.param((3, 128, 128), marks=pytest.mark.slow)],
    ids=["matrices", "not square", "windows"],
)
def test_the_unet_is_exported_with_attention_and_fir(
    shape: tuple[int, ...],
    tiny_settings: dict[str, Any],
    make_model: Callable[..., DDGAN],
    tmp_path: Path,
) -> None:
    tiny_settings["generator"]["attention_resolutions"] = [shape[2] // 2]
    tiny_settings["diffusion"] = {"num_steps": 1}
    model = make_model(RunConfig.from_dict(tiny_settings), shape)
    onnx._write(onnx.StepGraph(model), tmp_path / "step.onnx")
    assert onnx._checked(onnx.StepGraph(model), tmp_path / "step.onnx", "step.onnx") <= 1e-4


@pytest.mark.slow
def test_the_unets_chain_makes_the_models_samples(model: DDGAN, tmp_path: Path) -> None:
    export_onnx(model, tmp_path)
    (made,) = run_onnx(tmp_path / "chain.onnx", chain_inputs(model, 6, seed=3))
    assert apart(made, model.sample(6, seed=3)) < 1e-4
