"""Samples depend on (seed, index) alone, and models survive their file."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ddgan import DDGAN, Run, RunConfig
from ddgan.models.weights_file import WEIGHTS_NAME
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


def test_it_says_what_it_is(model: DDGAN) -> None:
    assert re.fullmatch(
        r"DDGAN\(sample_shape=\(3, 8, 8\), nfe=3, \d+\.\dM parameters, float32 on cpu\)", repr(model)
    )
