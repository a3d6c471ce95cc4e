"""The model of a Gaussian denoiser: its estimate, its chain and its edits; tests/diffusion has the chains."""

from __future__ import annotations

import pytest
import torch

from ddgan import RunConfig
from ddgan.diffusion.ancestral import ChainConfig, ancestral_chain, chosen_steps, signal_powers
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.system.randomness import ImageNoise
from tiny import TINY_DIGITS, TINY_POINTS

GAUSSIAN = {"method": {"kind": "gaussian_diffusion"}, "diffusion": {"num_steps": 40, "prediction": "noise"}}
UNET = TINY_DIGITS["generator"] | {"latent_size": 0, "tanh": False}


def made(settings: dict[str, object], sample_shape: tuple[int, ...]) -> GaussianDiffusion:
    """A model whose layers are not nearly zero."""
    config = RunConfig.from_dict(TINY_DIGITS | GAUSSIAN | settings)
    torch.manual_seed(0)
    generator = config.generator.build(sample_shape, config.conditions.shapes)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return GaussianDiffusion(generator, config, sample_shape)


@pytest.fixture
def model() -> GaussianDiffusion:
    return made({"generator": UNET}, (3, 8, 8))


@pytest.mark.parametrize("prediction", ["noise", "x_0"])
def test_the_estimate_is_the_x_0_that_the_prediction_stands_for(prediction: str) -> None:
    model = made(
        {"generator": UNET, "diffusion": GAUSSIAN["diffusion"] | {"prediction": prediction}}, (3, 8, 8)
    )
    x_t, t = torch.randn(4, 3, 8, 8), torch.tensor([1, 7, 20, 40])
    with torch.no_grad():
        output = model.generator(x_t, t, torch.zeros(4, 0), None)
        estimate = model.estimate(x_t, t)
    power = torch.tensor([signal_powers(model.config.diffusion)[step] for step in t.tolist()]).view(
        4, 1, 1, 1
    )
    expected = (x_t - (1 - power).sqrt() * output) / power.sqrt() if prediction == "noise" else output
    assert output.std() > 0.1
    torch.testing.assert_close(estimate, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_image", [True, False])
def test_samples_are_those_of_the_chain_and_only_images_are_clipped(is_image: bool) -> None:
    shape = (3, 8, 8) if is_image else (2,)
    model = made({"generator": UNET if is_image else TINY_POINTS["generator"] | {"latent_size": 0}}, shape)
    chain = ChainConfig(6)
    noise, powers = ImageNoise(3, range(5)), signal_powers(model.config.diffusion)
    steps, x_T = chosen_steps(40, 6), noise(*shape)  # noqa: N806 (the paper's symbol)
    with torch.no_grad():
        *_, x_0 = ancestral_chain(model.estimate, powers, steps, x_T, noise, chain, clip=is_image)
    torch.testing.assert_close(model.sampled_by(chain).sample(5, seed=3), x_0, rtol=1e-4, atol=1e-4)
    assert bool((x_0.abs() <= 1).all()) == is_image


def test_the_class_reaches_the_network() -> None:
    model = made({"generator": UNET, "conditions": {"label": {"classes": 3}}}, (3, 8, 8))
    first, second, null = (model.sample(2, classes=label) for label in (0, 1, 3))
    assert min(float((a - b).abs().max()) for a, b in ((first, second), (first, null))) > 0.01
    torch.testing.assert_close(model.sample(2), torch.stack([first[0], second[1]]), rtol=0, atol=1e-3)


def test_sample_i_is_the_same_in_a_batch_of_any_size(model: GaussianDiffusion) -> None:
    for settings in (ChainConfig(4), ChainConfig(4, eta=0.0)):
        sampler = model.sampled_by(settings)
        whole = sampler.sample(5, seed=3)
        torch.testing.assert_close(sampler.sample(5, seed=3, batch_size=2), whole, rtol=0, atol=1e-3)
        assert whole.shape == (5, 3, 8, 8)
        assert float(whole.abs().max()) <= 1
        assert not torch.equal(sampler.sample(5, seed=4), whole)
        assert sampler.nfe == 4
    assert model.nfe == 40
    with pytest.raises(ValueError, match="num_steps is 41; it must be at most 40"):
        model.sampled_by(ChainConfig(41))


def test_the_settings_choose_the_chain_that_a_model_is_sampled_by(model: GaussianDiffusion) -> None:
    config = model.config.changed({"method.chain.num_steps": 5, "method.chain.eta": 0.0})
    other = GaussianDiffusion(model.generator, config, (3, 8, 8))
    assert other.nfe == 5
    assert torch.equal(other.sample(2), model.sampled_by(ChainConfig(5, eta=0.0)).sample(2))


def test_an_edit_starts_from_the_noise_level_asked_for(model: GaussianDiffusion) -> None:
    images = torch.rand(3, 3, 8, 8) * 2 - 1
    assert torch.equal(model.edited(images, 1.0), images)  # abar_0 = 1: nothing is done
    powers = signal_powers(model.config.diffusion)
    first, again = (model.edited(images, powers[3], seed=1) for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(model.edited(images[:1], powers[3], seed=1), first[:1], rtol=0, atol=1e-3)
    near, far = (float((model.edited(images, power) - images).abs().mean()) for power in powers[2:40:20])
    assert near < far
    with pytest.raises(ValueError, match="signal is 2"):
        model.edited(images, 2.0)
