"""Whatever was trained is opened by one function; a checkpoint as its run is, with any of the run's EMAs."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.diffusion.ancestral import ChainConfig
from ddgan.models.checkpoint_file import METADATA_NAME, STATE_NAME
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.models.model import Model
from ddgan.models.one_step import OneStepGAN
from ddgan.models.opening import TooManyParametersError, at_most
from ddgan.models.weights_file import FORMAT, checksum_of, metadata_of
from filled import filled
from other_methods import OTHERS, config_of, model_of

CLASSES = {"one_step_gan": OneStepGAN, "wgan_gp": OneStepGAN, "gaussian_diffusion": GaussianDiffusion}


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").glob("step-*"))[-1]


def far_apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two sets of samples."""
    return float((a - b).abs().max())


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest) -> Any:
    """A model of another method, none of whose layers is nearly zero."""
    torch.manual_seed(0)
    model = model_of(request.param)
    filled(model.generator)
    return model


def test_models_of_other_methods_are_known_by_their_class(other: Any) -> None:
    assert type(other) is CLASSES[other.config.method.kind]
    assert isinstance(other, Model)
    assert other.sample_shape == (3, 8, 8)
    assert other.nfe == (other.config.diffusion.num_steps if type(other) is GaussianDiffusion else 1)


def test_they_are_saved_and_opened_by_one_function(other: Any, tmp_path: Path) -> None:
    path = other.save(tmp_path / "model.safetensors")
    again = ddgan.load(path)
    assert type(again) is type(other)
    assert (again.config, again.sample_shape, again.source) == (other.config, other.sample_shape, path)
    samples = again.sample(5, seed=3)
    assert samples.shape == (5, 3, 8, 8)
    assert torch.equal(samples, other.sample(5, seed=3))
    assert path.read_bytes() == again.save(tmp_path / "again.safetensors").read_bytes()


def test_their_sample_i_depends_on_the_seed_and_i_alone(other: Any) -> None:
    whole = other.sample(7, seed=4)
    for n, batch_size in ((1, None), (3, 2), (7, 3)):
        assert far_apart(other.sample(n, seed=4, batch_size=batch_size), whole[:n]) < 1e-4
    assert far_apart(other.sample(7, seed=5), whole) > 0.1
    assert min(far_apart(whole[i], whole[i - 1]) for i in range(1, 7)) > 0.1


def test_only_a_ddgan_is_opened_as_one(other: Any, tmp_path: Path) -> None:
    path = other.save(tmp_path / "model.safetensors")
    method = other.config.method.kind
    with pytest.raises(
        ValueError,
        match=f"was trained by the method {method}, so it is not a denoising .*; open it with ddgan.load",
    ) as caught:
        DDGAN.from_pretrained(path)
    assert str(path) in str(caught.value)


def test_the_chain_of_a_denoiser_is_chosen_when_it_is_sampled(tmp_path: Path) -> None:
    model: Any = ddgan.load(model_of("gaussian_diffusion").save(tmp_path / "model.safetensors"))
    quick = model.sampled_by(ChainConfig(2, eta=0.0))
    assert (model.nfe, quick.nfe) == (3, 2)
    assert quick.source == model.source
    again = ddgan.load(quick.save(tmp_path / "again.safetensors"))
    assert again.config == model.config  # it is how that sampling was asked for, and not how it was trained
    assert again.nfe == 3


@pytest.mark.parametrize("method", OTHERS)
def test_a_run_of_another_method_opens_from_its_folder_and_its_checkpoint(
    method: str, tmp_path: Path
) -> None:
    config = config_of(method).changed({"training.num_iterations": 2})
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    expected = run.model.sample(2)
    for source in (run.path, str(run.path), newest(run.path), newest(run.path) / STATE_NAME):
        again = ddgan.load(source)
        assert type(again) is CLASSES[method]
        assert torch.equal(again.sample(2), expected)


def test_a_method_that_is_not_registered_is_named_in_one_line(model: DDGAN, tmp_path: Path) -> None:
    metadata = metadata_of(model.config, model.sample_shape, "")
    metadata["config"]["method"] = {"kind": "flow"}
    path = tmp_path / "x.safetensors"
    save_file(model.generator.state_dict(), path, {"ddgan": json.dumps(metadata)})
    with pytest.raises(ValueError, match=r"method\.kind is 'flow', .*--import PACKAGE") as caught:
        ddgan.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_the_end_is_the_run(tiny_run: Run) -> None:
    again = DDGAN.from_pretrained(newest(tiny_run.path))
    assert again.config == tiny_run.model.config
    assert torch.equal(again.sample(3), tiny_run.model.sample(3))
    assert DDGAN.from_pretrained(newest(tiny_run.path) / STATE_NAME).source == again.source


def test_one_on_the_way_is_another_model(tiny_config: RunConfig, tmp_path: Path) -> None:
    ema = dataclasses.replace(tiny_config.optimization.ema, half_lives=(0.02, 5.0))
    optimization = dataclasses.replace(tiny_config.optimization, ema=ema)
    training = dataclasses.replace(tiny_config.training, num_iterations=4, keep_every=2)
    config = dataclasses.replace(tiny_config, optimization=optimization, training=training)
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    early, late = (run.path / "checkpoints" / f"step-{step:08d}" for step in (2, 4))
    assert not torch.equal(DDGAN.from_pretrained(early).sample(3), run.model.sample(3))
    for half_life in (None, 0.02, 5.0):
        expected = DDGAN.from_pretrained(run.path, ema=half_life).sample(3)
        assert torch.equal(DDGAN.from_pretrained(late, ema=half_life).sample(3), expected)
    with pytest.raises(ValueError, match=r"ema is 7, but .* it has 0.02, 5"):
        DDGAN.from_pretrained(late, ema=7.0)


def test_what_is_no_checkpoint_of_ours_is_refused_by_name(run_copy: Path) -> None:
    checkpoint = newest(run_copy)
    metadata = json.loads((checkpoint / METADATA_NAME).read_text())
    del metadata["checksum"]  # other versions have none, or it is right
    (checkpoint / METADATA_NAME).write_text(json.dumps(metadata | {"format": 1}))
    with pytest.raises(ValueError, match="has format 1, but this version of ddgan reads format 2"):
        DDGAN.from_pretrained(checkpoint)
    (checkpoint / METADATA_NAME).write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        DDGAN.from_pretrained(checkpoint)


def hostile(path: Path, shape: tuple[int, ...] = (3, 32, 32), **sections: Any) -> Path:
    """A file of one tensor, with a right checksum, whose settings describe something huge."""
    config = RunConfig.load("cifar10").to_dict() | sections
    metadata = {"format": FORMAT, "config": config, "sample_shape": list(shape), "license": ""}
    tensors = {"x": torch.zeros(1)}
    metadata["checksum"] = checksum_of(metadata, tensors)
    save_file(tensors, path, {"ddgan": json.dumps(metadata)})
    return path


DEEP = {"kind": "ncsnpp", "num_blocks": 64, "channel_multipliers": [64] * 12, "base_channels": 4096}


@pytest.mark.parametrize(
    ("shape", "generator"),
    [
        ((3, 32, 32), {"kind": "mlp", "num_blocks": 1000, "hidden_features": 65_536}),
        ((3, 4096, 4096), {**DEEP, "attention_resolutions": [4096 >> level for level in range(12)]}),
    ],
    ids=["mlp", "ncsnpp"],
)
def test_a_small_file_cannot_have_a_huge_network_built(
    shape: tuple[int, ...], generator: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = [0]
    register = torch.nn.Module.register_parameter

    def counted(self: torch.nn.Module, name: str, param: Any) -> None:
        registered[0] += 1
        register(self, name, param)

    monkeypatch.setattr(torch.nn.Module, "register_parameter", counted)
    path = hostile(tmp_path / "x.safetensors", shape, generator=generator)
    with pytest.raises(ValueError, match="they describe a network of far more than its 1 tensors; fetch"):
        ddgan.load(path)
    assert registered[0] < 20  # of 6,000 and of 25,000


def test_the_bound_on_construction_is_for_one_thread_and_ends() -> None:
    with at_most(2), pytest.raises(TooManyParametersError):
        torch.nn.Linear(1, 1), torch.nn.Linear(1, 1, bias=False)
    with at_most(2):
        thread = threading.Thread(target=lambda: made.append([torch.nn.Linear(1, 1) for _ in range(9)]))
        made: list[Any] = []
        thread.start()
        thread.join()
        torch.nn.Linear(1, 1)
    assert len(made[0]) == 9
    assert len([torch.nn.Linear(1, 1) for _ in range(9)]) == 9
