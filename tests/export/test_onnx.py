"""The graphs compute in onnxruntime what the model computes in PyTorch, or are not kept."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, load_model
from onnx.external_data_helper import uses_external_data
from torch import Tensor

from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.export import onnx
from ddgan.export.onnx import chain_inputs, export_onnx, open_onnx, run_onnx, write_step
from ddgan.system.randomness import ImageNoise
from filled import filled
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
        "weights.bin",
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


def weights_of(path: Path) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in load_model(path, load_external_data=False).graph.initializer}


def test_both_graphs_read_one_weights_file(image_model: DDGAN, exported: Path) -> None:
    step, chain = (weights_of(exported / name) for name in ("step.onnx", "chain.onnx"))
    content = (exported / "weights.bin").read_bytes()
    outside = {name: tensor for name, tensor in step.items() if uses_external_data(tensor)}
    parameters = dict(image_model.named_parameters())
    assert {f"generator.{name}" for name, p in parameters.items() if p.numel() >= 1024} <= outside.keys()
    for name, tensor in outside.items():
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert place == {entry.key: entry.value for entry in chain[name].external_data}
        first, length = int(place["offset"]), int(place["length"])
        stored = np.frombuffer(content[first : first + length], dtype=np.float32).reshape(tuple(tensor.dims))
        np.testing.assert_array_equal(stored, parameters[name.removeprefix("generator.")].numpy())
    assert (exported / "chain.onnx").stat().st_size < 1.5 * (exported / "step.onnx").stat().st_size


def rounded(weight: Tensor, precision: str) -> Tensor:
    """The float32 numbers that a stored weight stands for, computed value by value in NumPy."""
    w = weight.numpy()
    if w.ndim < 2 or w.size < 1024:
        return weight
    if precision == "fp16":
        return torch.from_numpy(w.astype(np.float16).astype(np.float32))
    rows = w.reshape(len(w), -1)
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    return torch.from_numpy((np.rint(rows / scale).astype(np.float32) * scale).reshape(w.shape))


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.5), ("int8", 0.25)])
def test_short_weights(
    precision: Any, share: float, image_model: DDGAN, exported: Path, tmp_path: Path
) -> None:
    record = export_onnx(image_model, tmp_path / "x", precision=precision)
    before, after = ((folder / "weights.bin").stat().st_size for folder in (exported, tmp_path / "x"))
    large = sum(4 * p.numel() for p in image_model.parameters() if p.ndim > 1 and p.numel() >= 1024)
    assert before - after == pytest.approx((1 - share) * large, rel=0.05)
    expected = copy.deepcopy(image_model)
    expected.load_state_dict(
        {name: rounded(value, precision) for name, value in image_model.state_dict().items()}
    )
    chain = open_onnx(tmp_path / "x" / "chain.onnx")
    assert {i.type for i in (*chain.get_inputs(), *chain.get_outputs())} == {"tensor(float)", "tensor(int64)"}
    (made,) = run_onnx(tmp_path / "x" / "chain.onnx", chain_inputs(image_model, 5, seed=2))
    assert apart(made, expected.sample(5, seed=2)) < 1e-4
    assert max(record["largest_difference"].values()) < 1e-4
    levels = [model.sample(64, output="uint8").double() for model in (expected, image_model)]
    apart_by = (levels[0] - levels[1]).abs()
    found = record["difference"]
    assert (record["precision"], found["samples"], found["unit"]) == (precision, 64, "grey levels")
    assert found["largest"] == pytest.approx(float(apart_by.max()), abs=1)
    assert found["mean"] == pytest.approx(float(apart_by.mean()), rel=0.05)
    assert found["mean"] > 0
    card = (tmp_path / "x" / "README.md").read_text("utf-8")
    assert f"stored in {precision}. From the same noise, 64 samples differ from those of model.sample" in card


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_onnxruntime_restores_short_weights_once(precision: Any, image_model: DDGAN, tmp_path: Path) -> None:
    write_step(image_model, tmp_path / "step.onnx", precision=precision)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    onnxruntime.InferenceSession(tmp_path / "step.onnx", options)
    kinds = {tensor.data_type for tensor in weights_of(tmp_path / "as_run.onnx").values()}
    assert TensorProto.FLOAT in kinds
    assert not kinds & {TensorProto.FLOAT16, TensorProto.INT8}


def test_a_step_alone_is_one_file(image_model: DDGAN, exported: Path, tmp_path: Path) -> None:
    assert write_step(image_model, tmp_path / "model.onnx") < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    inputs = onnx.StepGraph(image_model).inputs(4, seed=1)
    for ours, theirs in zip(
        run_onnx(tmp_path / "model.onnx", inputs), run_onnx(exported / "step.onnx", inputs), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_inputs_without_a_use_are_left_out(
    tiny_points_settings: dict[str, Any], make_model: Callable[..., DDGAN], tmp_path: Path
) -> None:
    tiny_points_settings["generator"] |= {"latent_size": 0, "num_blocks": 1}
    tiny_points_settings["diffusion"] = {"num_steps": 2, "prediction": "x_prev"}
    model = make_model(RunConfig.from_dict(tiny_points_settings), (2,))
    record = export_onnx(model, tmp_path / "x")
    assert list(chain_inputs(model, 4)) == ["x_T"]
    (made,) = run_onnx(tmp_path / "x" / "chain.onnx", chain_inputs(model, 4))
    assert apart(made, model.sample(4)) < 1e-4
    assert record["difference"]["unit"] == "values"


def test_a_graph_that_differs_is_not_kept(
    points_model: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "run_onnx", lambda path, inputs: [torch.zeros(len(inputs["t"]), 2)] * 2)
    with pytest.raises(ValueError, match=r"step.onnx differs from PyTorch by .*; nothing was kept"):
        export_onnx(points_model, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_float16_cannot_hold_is_refused(image_model: DDGAN, tmp_path: Path) -> None:
    model = copy.deepcopy(image_model)
    model.generator.time_embedding.output.weight[0, 0] = 1e5  # type: ignore[union-attr, operator, index]
    with pytest.raises(
        ValueError, match=r"precision is 'fp16', but the weight 'time_embedding\.output\.weight'.*use float32"
    ):
        export_onnx(model, tmp_path / "x", precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_precision_is_refused(image_model: DDGAN, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision is 'bf16'; it must be one of float32, fp16, int8"):
        write_step(image_model, tmp_path / "x.onnx", precision="bf16")  # type: ignore[arg-type]


def test_a_scorer_sees_the_model_and_its_export(image_model: DDGAN, tmp_path: Path) -> None:
    def mean(model: Any) -> dict[str, float]:
        return {"mean": float(torch.cat(list(model.batches(20, seed=4, batch_size=7))).mean())}

    record = export_onnx(image_model, tmp_path / "x", precision="int8", scorer=mean)
    scores = record["scores"]
    assert scores["model"]["mean"] == pytest.approx(float(image_model.sample(20, seed=4).mean()), abs=1e-5)
    assert 0 < abs(scores["model"]["mean"] - scores["export"]["mean"]) < 0.01
    assert f"| export.mean | {scores['export']['mean']:.4g} |" in (tmp_path / "x" / "README.md").read_text()


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
    assert write_step(model, tmp_path / "step.onnx") <= 1e-4


def test_a_generator_of_sub_bands_in_one_step(tmp_path: Path, make_model: Callable[..., DDGAN]) -> None:
    network = {"kind": "ncsnpp", "base_channels": 8, "channel_multipliers": [1, 2], "num_blocks": 1}
    network |= {"attention_resolutions": [], "latent_size": 4, "mapping_features": 8, "mapping_depth": 1}
    settings: dict[str, Any] = {
        "conditions": {"label": {"classes": 3}},
        "generator": {"kind": "subbands", "network": network},
        "diffusion": {"num_steps": 1},
    }
    model = make_model(RunConfig.from_dict(settings), (3, 8, 8))
    export_onnx(model, tmp_path / "x", precision="int8")
    (made,) = run_onnx(tmp_path / "x" / "chain.onnx", chain_inputs(model, 4, seed=1))
    assert made.shape == (4, 3, 8, 8)
    assert apart(made, model.sample(4, seed=1)) < 0.1


@pytest.mark.slow
def test_the_unets_chain_makes_the_models_samples(model: DDGAN, tmp_path: Path) -> None:
    export_onnx(model, tmp_path)
    (made,) = run_onnx(tmp_path / "chain.onnx", chain_inputs(model, 6, seed=3))
    assert apart(made, model.sample(6, seed=3)) < 1e-4


@pytest.mark.parametrize("shape", [(2, 16), (1, 4, 6), (1, 4, 4, 8)], ids=str)
@pytest.mark.parametrize("in_subbands", [False, True])
def test_a_unet_of_signals_images_and_volumes_is_a_graph_too(
    shape: tuple[int, ...], in_subbands: bool, tmp_path: Path
) -> None:
    unet: dict[str, Any] = {
        "kind": "ncsnpp",
        "base_channels": 4,
        "channel_multipliers": [1] if in_subbands else [1, 1],
        "num_blocks": 1,
        "attention_resolutions": [max(shape[1:]) // 2],
        "latent_size": 2,
        "mapping_features": 4,
    }
    generator = {"kind": "subbands", "network": unet} if in_subbands else unet
    config = RunConfig.from_dict({"generator": generator, "diffusion": {"num_steps": 2}})
    model = DDGAN(filled(config.generator.build(shape)), config, shape)
    assert write_step(model, tmp_path / "step.onnx") < 1e-4  # which it also promises
