"""A GAN's generator makes a sample in one call, from noise in the shape of a sample and a latent."""

from __future__ import annotations

import pytest
import torch

from ddgan.models.one_step import OneStepGAN, first_step
from ddgan.networks.conditions import Condition
from ddgan.system.randomness import ImageNoise
from filled import filled
from other_methods import model_of


@pytest.fixture(scope="module", params=["one_step_gan", "wgan_gp"])
def model(request: pytest.FixtureRequest) -> OneStepGAN:
    torch.manual_seed(0)
    made = model_of(request.param)
    filled(made.generator)
    assert isinstance(made, OneStepGAN)
    return made


def test_a_sample_is_one_call_at_the_first_step(model: OneStepGAN) -> None:
    noise = ImageNoise(7, range(4))
    x, z = noise(3, 8, 8), noise(4)
    with torch.no_grad():
        expected = model.generator(x, torch.ones(4, dtype=torch.int64), z, None)
    assert expected.std() > 0.1
    torch.testing.assert_close(model.sample(4, seed=7), expected, rtol=0, atol=1e-6)
    assert model.nfe == 1


def test_the_network_is_called_once_a_batch(model: OneStepGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, forward = list[tuple[int, list[int]]](), model.generator.forward

    def seen(x: torch.Tensor, t: torch.Tensor, z: torch.Tensor, condition: Condition | None) -> torch.Tensor:
        calls.append((len(x), t.unique().tolist()))
        return forward(x, t, z, condition)

    monkeypatch.setattr(model.generator, "forward", seen)
    model.sample(5, batch_size=2)
    assert calls == [(2, [1]), (2, [1]), (1, [1])]


def test_the_first_step_is_that_of_each_sample() -> None:
    for shape in ((3, 2), (3, 1, 8, 8)):
        t = first_step(torch.zeros(shape))
        assert (t.tolist(), t.dtype) == ([1, 1, 1], torch.int64)
