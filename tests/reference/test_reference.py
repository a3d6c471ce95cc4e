"""Our networks, diffusion and sampling compute what the published implementation computes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from ddgan.diffusion.chain import denoising_steps
from ddgan.diffusion.process import Diffusion
from ddgan.interop.nvlabs import (
    discriminator_from_state_dict,
    generator_from_state_dict,
    published_state_dict,
)
from ddgan.models.precision import channels_innermost, computing_in
from ddgan.networks.kernels import winograd
from ddgan.networks.ncsnpp import Generator
from ddgan.networks.resnet import Discriminator
from reference import helpers
from reference.helpers import error, relative

FLOAT32 = 1e-5
SCHEDULE = 1e-4
"""The published tables are float32, ours float64."""
SCHEDULE_OF_ONE_STEP = 3e-4
"""For T = 1 all noise comes in one step: 1 - beta = abar = 4e-5 is what float32 leaves of 1 - (1 - 4e-5)."""
LARGE_IMAGE = 256
LARGE_GRADIENT = 1e-3
"""From 256 pixels on, some inputs of the leaky ReLUs are about 1e-6: rounding decides their sign, and with it
the slope behind a few pixels. Gradients then agree in relative L2, no longer pixel by pixel."""


def test_there_are_files_and_each_has_settings_and_is_of_a_known_kind() -> None:
    entries = helpers.entries_with_values()
    assert entries, f"no reference values (*.npz) in '{helpers.folder()}'"
    for entry in entries:
        helpers.config_of(entry)
        assert entry.startswith(tuple(f"{p}_" for p in helpers.PREFIXES)), f"nothing tests {entry}.npz"


@lru_cache(maxsize=2)
def weights(entry: str) -> dict[str, torch.Tensor]:
    """The rule's weights of a network; a network copies them."""
    return helpers.weights(helpers.table()[entry]["tensors"])


def network(entry: str, device: str = "cpu") -> Generator | Discriminator:
    """The network of an entry with the rule's weights; on "meta", only its shapes."""
    config, shapes = helpers.config_of(entry), helpers.table()[entry]["tensors"]
    if device == "meta":
        tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    else:
        tensors = weights(entry)
    if entry.startswith("generator_"):
        return generator_from_state_dict(tensors, **config)
    return discriminator_from_state_dict(tensors, **config)


def test_names_shapes_and_count(network_entry: str) -> None:
    description = helpers.table()[network_entry]
    built = network(network_entry, "meta")
    shapes = {name: list(tensor.shape) for name, tensor in published_state_dict(built).items()}
    assert list(shapes.items()) == list(description["tensors"].items())  # the order too
    assert sum(p.numel() for p in built.parameters()) == description["parameters"]


@pytest.mark.usefixtures("path")
def test_generator_output(generator_entry: str) -> None:
    values = {name: torch.from_numpy(array) for name, array in helpers.values(generator_entry).items()}
    with torch.no_grad():
        y = network(generator_entry)(values["x"], values["t"] + 1, values["z"])
    assert error(y, values["y"]) < FLOAT32


def apart(fast: Generator, values: dict[str, torch.Tensor]) -> float:
    """How far its output is from the reference value, as a share of the norm."""
    with torch.no_grad():
        return relative(fast(values["x"], values["t"] + 1, values["z"]), values["y"])


@pytest.mark.parametrize("tiles", [winograd.FEWEST_TILES, 1])
def test_generator_with_channels_innermost(
    generator_entry: str, tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "FEWEST_TILES", tiles)  # with 1, at every size of 4 pixels and more
    values = {name: torch.from_numpy(array) for name, array in helpers.values(generator_entry).items()}
    assert apart(channels_innermost(network(generator_entry)), values) < 1e-5


def test_generator_in_bf16(generator_entry: str) -> None:
    values = {name: torch.from_numpy(array) for name, array in helpers.values(generator_entry).items()}
    assert apart(computing_in(network(generator_entry), torch.bfloat16), values) < 2e-2


@pytest.mark.usefixtures("path")
def test_discriminator_logit_and_gradient(discriminator_entry: str) -> None:
    values = {name: torch.from_numpy(array) for name, array in helpers.values(discriminator_entry).items()}
    x_prev = values["x_prev"].requires_grad_()
    logit = network(discriminator_entry)(x_prev, values["x_t"], values["t"] + 1)
    (gradient,) = torch.autograd.grad(logit.sum(), x_prev)
    assert error(logit, values["logit"]) < FLOAT32
    if gradient.shape[-1] < LARGE_IMAGE:
        assert error(gradient, values["grad_x_prev"]) < FLOAT32
    assert relative(gradient, values["grad_x_prev"]) < LARGE_GRADIENT


def test_discriminator_as_it_is_trained(discriminator_entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Winograd's products round differently, so that a sign may change in images of any size."""
    monkeypatch.setattr(winograd, "FEWEST_TILES", 1)
    values = {name: torch.from_numpy(array) for name, array in helpers.values(discriminator_entry).items()}
    x_prev, expected = values["x_prev"].requires_grad_(), values["grad_x_prev"].float()
    logit = channels_innermost(network(discriminator_entry))(x_prev, values["x_t"], values["t"] + 1)
    (gradient,) = torch.autograd.grad(logit.sum(), x_prev)
    assert error(logit, values["logit"]) < FLOAT32
    if gradient.shape[-1] < LARGE_IMAGE:
        difference = (gradient - expected).abs() / expected.abs().max()
        assert (difference < FLOAT32).float().mean() > 0.95
    assert relative(gradient, expected) < LARGE_GRADIENT


def test_schedule(schedule_entry: str) -> None:
    values = helpers.values(schedule_entry)
    config = helpers.diffusion_config(helpers.config_of(schedule_entry))
    diffusion = Diffusion(config, dtype=torch.float64)
    tolerance = SCHEDULE if config.num_steps > 1 else SCHEDULE_OF_ONE_STEP
    # The first entry of the published forward tables is a step with beta = 1e-8, which is no step.
    for ours, theirs in (
        (diffusion.step_noise, values["sigmas"]),
        (diffusion.step_signal, values["a_s"]),
        (diffusion.signal_scale, values["a_s_cum"]),
        (diffusion.noise_scale, values["sigmas_cum"]),
    ):
        assert error(ours[1:], theirs[1:]) < tolerance
    assert error(diffusion.mean_x_0[1:], values["posterior_mean_x0"]) < tolerance
    assert error(diffusion.mean_x_t[1:], values["posterior_mean_xt"]) < tolerance
    assert error(diffusion.posterior_variance[1:], values["posterior_variance"]) < tolerance
    alphas = np.array([config.schedule.signal_power(u) for u in values["time"]])
    assert error(diffusion.beta[1:], 1 - alphas[1:] / alphas[:-1]) < tolerance


def test_sampling(sampling_entry: str) -> None:
    values = {name: torch.from_numpy(array) for name, array in helpers.values(sampling_entry).items()}
    config = helpers.config_of(sampling_entry)
    generator = network(config["generator"])
    order = [values[f"{name}_{i}"] for i in reversed(range(config["T"])) for name in ("z", "noise")]
    stored = iter(order)
    with torch.no_grad():
        steps = list(
            denoising_steps(
                generator,
                Diffusion(helpers.diffusion_config(config)),
                values["x_T"],
                lambda *shape: next(stored),
                generator.config.latent_size,
            )
        )
    assert [step.t for step in steps] == list(range(config["T"], 0, -1))
    for step in steps:
        assert error(step.prediction, values[f"x0_{step.t - 1}"]) < FLOAT32
        assert error(step.x_prev, values[f"x_{step.t - 1}"]) < FLOAT32
