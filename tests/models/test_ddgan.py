"""Samples depend on (seed, index) alone; weights survive their file; damaged files are refused by name."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ddgan import DDGAN, Run, RunConfig
from ddgan.models.weights_file import WEIGHTS_NAME, metadata_of
from ddgan.system.images import to_uint8


def levels_apart(a: Tensor, b: Tensor) -> int:
    """The largest difference in uint8 levels."""
    return int(np.abs(to_uint8(a).astype(int) - to_uint8(b).astype(int)).max())


def test_samples_are_images_on_the_cpu(model: DDGAN) -> None:
    samples = model.sample(5, seed=1)
    assert samples.shape == (5, *model.sample_shape) == (5, 3, 8, 8)
    assert samples.dtype == torch.float32
    assert samples.device.type == "cpu"
    assert samples.abs().max() <= 1  # T ends in the output of tanh
    assert not samples.requires_grad


def test_images_of_a_seed_differ_from_each_other(model: DDGAN) -> None:
    samples = model.sample(6, seed=1)
    for i in range(6):
        for j in range(i):
            assert levels_apart(samples[i : i + 1], samples[j : j + 1]) > 20


@pytest.mark.parametrize(("n", "batch_size"), [(1, None), (5, 1), (5, 2), (7, 3), (12, 12), (12, 100)])
def test_an_image_depends_on_neither_n_nor_batch_size(model: DDGAN, n: int, batch_size: int | None) -> None:
    whole = model.sample(12, seed=4)
    part = model.sample(n, seed=4, batch_size=batch_size)
    assert len(part) == n
    assert levels_apart(part, whole[:n]) <= 1


def test_the_seed_decides(model: DDGAN) -> None:
    first = model.sample(4, seed=0)
    assert torch.equal(first, model.sample(4, seed=0))
    other = model.sample(4, seed=1)
    assert min(levels_apart(a, b) for a, b in zip(first[:, None], other[:, None], strict=True)) > 20


def test_sampling_leaves_torchs_own_random_state_alone(model: DDGAN) -> None:
    before = torch.get_rng_state()
    model.sample(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_points_are_sampled_too(points_model: DDGAN) -> None:
    samples = points_model.sample(300, seed=2)
    assert samples.shape == (300, 2)
    assert torch.allclose(samples[:10], points_model.sample(10, seed=2, batch_size=3), atol=1e-5)
    assert samples.std() > 0.05


def test_batches_are_of_nearly_equal_size_and_counted(model: DDGAN) -> None:
    told: list[int] = []
    sizes = [len(batch) for batch in model.batches(10, batch_size=4, on_batch=told.append)]
    assert sizes == told == [4, 4, 2]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": -3}, "n is -3"),
        ({"n": 4, "batch_size": 0}, "batch_size is 0"),
        ({"n": 4, "seed": -1}, "seed is -1"),
    ],
)
def test_arguments_out_of_range_are_refused(model: DDGAN, arguments: dict[str, int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        model.sample(**arguments)


def test_default_batch_size_shrinks_with_the_model(model: DDGAN) -> None:
    config = RunConfig.load("celebahq256")
    large = DDGAN(torch.nn.Linear(1, 1, device="meta"), config, (3, 256, 256))
    assert 1 <= large.default_batch_size() < model.default_batch_size()


def test_steps_run_from_noise_to_the_samples(model: DDGAN) -> None:
    steps = model.steps(6, seed=5)
    assert [step.t for step in steps] == [3, 2, 1]
    for earlier, later in itertools.pairwise(steps):
        assert torch.equal(earlier.x_prev, later.x_t)
    assert levels_apart(steps[-1].x_prev, model.sample(6, seed=5)) <= 1
    assert torch.allclose(steps[-1].prediction, steps[-1].x_prev, atol=1e-6)  # no noise is left at t = 1
    noise = torch.cat([step.x_t.flatten() for step in model.steps(60)[:1]])
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05


def test_the_generator_is_frozen_and_in_evaluation_mode(model: DDGAN) -> None:
    assert not model.generator.training
    assert not any(parameter.requires_grad for parameter in model.generator.parameters())


def test_a_saved_model_gives_identical_samples(model: DDGAN, tmp_path: Path) -> None:
    in_folder = model.save(tmp_path / "a" / "folder")
    in_file = model.save(tmp_path / "b" / "mine.safetensors")
    assert in_folder == tmp_path / "a" / "folder" / WEIGHTS_NAME
    for source in (in_folder, in_folder.parent, str(in_file)):
        again = DDGAN.from_pretrained(source)
        assert again.config == model.config
        assert torch.equal(again.sample(4, seed=7), model.sample(4, seed=7))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["mine.safetensors", WEIGHTS_NAME]


def test_a_trained_run_opens_from_its_folder(tiny_run: Run) -> None:
    again = DDGAN.from_pretrained(tiny_run.path)
    assert again.config == tiny_run.model.config
    assert torch.equal(again.sample(3), tiny_run.model.sample(3))


def test_a_failed_save_leaves_the_old_file(
    model: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model.save(tmp_path)
    before = path.read_bytes()

    def disk_full(tensors: Any, filename: Any, metadata: Any = None) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", disk_full)
    with pytest.raises(OSError, match="no space"):
        model.save(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.999])
def test_truncated_files_are_refused_by_name(model: DDGAN, tmp_path: Path, kept: float) -> None:
    path = model.save(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    refused(path, r"is not a whole \.safetensors file")


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(bytes(range(256)) * 40)
    refused(path, r"is not a whole \.safetensors file")
    save_file({"weight": torch.zeros(3)}, path)
    refused(path, "was not written by ddgan")
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})
    refused(path, "was not written by ddgan")


def test_places_without_weights_are_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path, "is not a run folder")
    refused(tmp_path / "missing", "does not exist")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "a configuration is a mapping of sections, not list"),
        (None, "a configuration is a mapping of sections, not NoneType"),
        ({"diffusion": {"num_steps": 0}}, "diffusion.num_steps is 0; it must be at least 1"),
        ({"from_the_future": 1}, "from_the_future is not a setting"),
        ({"generator": {"kind": "dit"}}, "generator.kind is 'dit', which is not a generator .* known here"),
        ({"method": {"kind": "flow"}}, "method.kind is 'flow', which is not a method that is known here"),
        ({"data": {"kind": "shells"}}, "data.kind is 'shells', which is not a data that is known here"),
        ({"conditions": {"label": {}}}, "conditions.label.classes is auto"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    model: DDGAN, tmp_path: Path, config: Any, words: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(model.generator.state_dict(), path, written(model, config=config))
    refused(path, words)


def test_a_component_that_is_not_registered_is_named_with_the_way_to_it(model: DDGAN, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    settings = model.config.to_dict() | {"generator": {"kind": "dit", "depth": 3}}
    save_file(model.generator.state_dict(), path, written(model, config=settings))
    refused(path, r"must be one of mlp, ncsnpp.*--import PACKAGE")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 1}, "has format 1, and this version of ddgan reads format 2; open it with the version"),
        ({"format": 3}, "has format 3, and this version of ddgan reads format 2; open it with the version"),
        ({"format": "2"}, "has format 2, and"),
        ({"sample_shape": "3x8x8"}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": []}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": [3, 8, 0]}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": [3, 8, True]}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": [3, 8, 2**40]}, "is damaged: its sample_shape is not a list of sizes"),
        ({"license": 3}, "is damaged: its license is not text"),
    ],
)
def test_metadata_that_cannot_be_is_refused_by_name(
    model: DDGAN, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(model.generator.state_dict(), path, written(model, **changes))
    refused(path, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{broken", "the metadata in .* is damaged"),
        ("[" * 100_000, "the metadata in .* is damaged"),
        ("[]", "is damaged: it has no format"),
        ("{}", "is damaged: it has no format"),
        ("null", "was not written by ddgan: its metadata has no entry ddgan"),
    ],
)
def test_metadata_that_is_not_that_of_weights_is_refused_by_name(
    model: DDGAN, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(model.generator.state_dict(), path, {"ddgan": text})
    refused(path, words)


def test_files_of_0_1_are_refused_with_the_way_on(model: DDGAN, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    save_file(model.generator.state_dict(), path, {"format": "ddgan-1", "config": "{}", "license": ""})
    refused(
        path, r"written by ddgan 0\.1, and this version reads format 2; open it with ddgan 0\.1, or train"
    )


def test_weights_of_another_shape_of_samples_are_refused_before_memory_is_taken(
    model: DDGAN, tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(model.generator.state_dict(), path, written(model, sample_shape=[7, 2**20, 2**20]))
    refused(path, "does not fit its own settings: .* tensors are missing, unknown or of another shape")
    save_file(model.generator.state_dict(), path, written(model, sample_shape=[3, 7, 8]))
    refused(path, "generator.channel_multipliers is .* halves the size 1 times, .* 7 x 8 pixels")


def written(model: DDGAN, **changes: Any) -> dict[str, str]:
    """The metadata of a weights file, with entries changed."""
    metadata = metadata_of(model.config, model.sample_shape, "")
    return {"ddgan": json.dumps(metadata | changes)}


def drop_first(tensors: dict[str, Tensor]) -> None:
    del tensors[min(tensors)]


def add_one(tensors: dict[str, Tensor]) -> None:
    tensors["unknown.weight"] = torch.zeros(2)


def reshape_first(tensors: dict[str, Tensor]) -> None:
    tensors[min(tensors)] = tensors[min(tensors)].reshape(1, -1)


@pytest.mark.parametrize("change", [drop_first, add_one, reshape_first])
def test_tensors_that_do_not_fit_are_refused_by_name(
    model: DDGAN, tmp_path: Path, change: Callable[[dict[str, Tensor]], None]
) -> None:
    tensors = dict(model.generator.state_dict())
    expected = "unknown.weight" if change is add_one else min(tensors)
    change(tensors)
    path = tmp_path / "odd.safetensors"
    save_file(tensors, path, written(model))
    refused(path, f"1 tensors .* '{expected}'")


def refused(path: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        DDGAN.from_pretrained(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_says_what_it_is(model: DDGAN) -> None:
    assert re.fullmatch(
        r"DDGAN\(sample_shape=\(3, 8, 8\), nfe=3, \d+\.\dM parameters, float32 on cpu\)", repr(model)
    )
