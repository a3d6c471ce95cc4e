"""The training of the Gaussian denoiser; tests/models/test_gaussian.py has its model."""

from __future__ import annotations

import pytest
import torch

from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.diffusion.ancestral import signal_powers
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.training.iteration import iterate
from ddgan.training.methods.gaussian_diffusion import DenoisingNoise
from steps import fresh


def denoiser_config(base: RunConfig, prediction: str = "noise", **changes: object) -> RunConfig:
    return base.changed(
        {
            "method.kind": "gaussian_diffusion",
            "generator.latent_size": 0,
            "generator.tanh": prediction == "x_0",
            "diffusion.num_steps": 40,
            "diffusion.prediction": prediction,
            **changes,
        }
    )


@pytest.mark.parametrize("prediction", ["noise", "x_0"])
def test_the_loss_is_that_of_the_paper(tiny_config: RunConfig, prediction: str) -> None:
    state = fresh(denoiser_config(tiny_config, prediction))
    torch.manual_seed(0)
    with torch.no_grad():  # away from the start, where the output is almost nothing
        for parameter in state.generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.rand(6, 3, 8, 8) * 2 - 1
    noise = DenoisingNoise(torch.tensor([1, 4, 9, 20, 30, 40]), torch.randn(6, 3, 8, 8))
    power = torch.tensor([signal_powers(state.diffusion.config)[t] for t in noise.t.tolist()])
    x_t = power.sqrt().view(-1, 1, 1, 1) * images + (1 - power).sqrt().view(-1, 1, 1, 1) * noise.noise
    with torch.no_grad():
        output = state.generator(x_t, noise.t, torch.zeros(6, 0))
    assert output.std() > 0.1
    if prediction == "noise":
        expected = (output - noise.noise).square().mean(dim=(1, 2, 3))
    else:
        expected = (power / (1 - power)).clamp(max=5) * (output - images).square().mean(dim=(1, 2, 3))
    statistics = iterate(state, Batch(images), noise)["generator"]
    torch.testing.assert_close(statistics["loss_g"], expected, rtol=1e-4, atol=1e-5)
    assert statistics["t"].tolist() == [1, 1, 3, 5, 8, 10]  # the tenth of 1..40
    assert state.step == 1


def test_it_learns_to_denoise_points(tiny_points_config: RunConfig) -> None:
    config = denoiser_config(tiny_points_config, **{"optimization.generator.lr": 3e-3})
    state = fresh(config, (2,))
    state.num_iterations = 200
    points = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    losses = []
    for step in range(200):
        statistics = iterate(state, Batch(points), config.method.draw(config, step, points))
        losses.append(float(statistics["generator"]["loss_g"].mean()))
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])
    samples = GaussianDiffusion(state.ema, config, (2,)).sample(500)
    assert float(samples.abs().median()) < 0.4  # of noise it is 0.67, of the data 0.07


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("generator.latent_size", 4, "generator.latent_size is 4, but .* has no latent; set it to 0"),
        ("diffusion.prediction", "x_prev", "diffusion.prediction is x_prev, but .* predicts x_0 or noise"),
        ("method.snr_limit", -1.0, "method.snr_limit is -1.0; it must be above 0"),
        ("method.chain.num_steps", 41, "method.chain.num_steps is 41; it must be at most .* 40"),
        ("method.chain.eta", 1.5, "method.chain.eta is 1.5; it must be at most 1"),
    ],
)
def test_settings_that_do_not_fit_the_method(
    tiny_config: RunConfig, name: str, value: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        denoiser_config(tiny_config, **{name: value})
