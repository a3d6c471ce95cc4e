"""Fully connected networks of points and of small images."""

from __future__ import annotations

import math

import pytest
import torch

from ddgan.networks import (
    MLPConfig,
    MLPDiscriminator,
    MLPDiscriminatorConfig,
    MLPGenerator,
    build_discriminator,
)
from ddgan.networks.mlp import octaves

SMALL = {"hidden_features": 12, "num_blocks": 2, "latent_size": 3, "time_features": 8}


def lively(**changes: object) -> MLPGenerator:
    torch.manual_seed(0)
    network = MLPGenerator(MLPConfig(**(SMALL | changes)))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(
    "changes",
    [{}, {"latent_size": 0}, {"num_frequencies": 3}, {"state_shape": (3, 4, 4), "tanh": True}],
    ids=str,
)
def test_every_parameter_gets_a_finite_gradient(changes: dict[str, object]) -> None:
    network = lively(**changes)
    x = torch.randn(5, *network.config.state_shape)
    output = network(x, torch.arange(5) + 1, torch.randn(5, network.config.latent_size))
    assert output.shape == x.shape
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("which", [0, 1, 2])
def test_each_input_matters_and_to_its_own_sample_only(which: int) -> None:
    network = lively()
    arguments = [torch.randn(4, 2), torch.tensor([1, 2, 3, 4]), torch.randn(4, 3)]
    before = network(*arguments)
    arguments[which][2] += 1
    changed = ((network(*arguments) - before).abs() > 1e-5).any(dim=1)
    assert changed.tolist() == [False, False, True, False]


def test_tanh_bounds_the_output() -> None:
    bounded, free = lively(tanh=True), lively()
    arguments = torch.randn(4, 2), torch.tensor([1, 2, 3, 4]), torch.randn(4, 3)
    torch.testing.assert_close(bounded(*arguments), torch.tanh(free(*arguments)))


def test_latent_and_time_reach_the_output_through_the_modulations_alone() -> None:
    network = lively()
    for block in network.blocks:
        torch.nn.init.zeros_(block.modulation.weight)
    x = torch.randn(4, 2)
    first = network(x, torch.tensor([1, 1, 1, 1]), torch.randn(4, 3))
    second = network(x, torch.tensor([4, 3, 2, 5]), torch.randn(4, 3))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("num_frequencies", [0, 2])
def test_discriminator(num_layers: int, num_frequencies: int) -> None:
    torch.manual_seed(0)
    network = MLPDiscriminator(MLPDiscriminatorConfig("mlp", 16, num_layers, 8, num_frequencies), 2)
    x_prev, x_t, t = torch.randn(5, 2), torch.randn(5, 2), torch.arange(5) + 1
    logits = network(x_prev, x_t, t)
    assert logits.shape == (5,)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    for changed in [(x_prev + 1, x_t, t), (x_prev, x_t + 1, t), (x_prev, x_t, t + 1)]:
        assert ((network(*changed) - logits).abs() > 1e-6).all()


def test_the_discriminator_takes_images_as_their_numbers() -> None:
    torch.manual_seed(0)
    config = MLPDiscriminatorConfig("mlp", 16, 3, 8)
    of_images = build_discriminator(config, (3, 4, 5))
    of_points = build_discriminator(config, (60,))
    of_points.load_state_dict(of_images.state_dict())
    x_prev, x_t, t = torch.randn(7, 3, 4, 5), torch.randn(7, 3, 4, 5), torch.arange(7) + 1
    expected = of_points(x_prev.flatten(1), x_t.flatten(1), t)
    torch.testing.assert_close(of_images(x_prev, x_t, t), expected)


def test_octaves_are_sines_of_doubling_frequency() -> None:
    x = torch.tensor([[0.5, -0.25]], dtype=torch.float64)
    expected = [0.5, -0.25]
    expected += [math.sin(math.pi * 2**k * v) for k in range(3) for v in (0.5, -0.25)]
    expected += [math.cos(math.pi * 2**k * v) for k in range(3) for v in (0.5, -0.25)]
    torch.testing.assert_close(octaves(x, 3), torch.tensor([expected], dtype=torch.float64))
    torch.testing.assert_close(octaves(x, 0), x)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"state_shape": (3, 8)}, r"state_shape is \[3, 8\]"),
        ({"state_shape": (0,)}, "each at least 1"),
        ({"num_blocks": 0}, "num_blocks is 0"),
        ({"hidden_features": -1}, "hidden_features is -1"),
        ({"latent_size": -1}, "latent_size is -1"),
        ({"num_frequencies": 17}, "must be in 0..16"),
        ({"time_features": 3}, "must be even"),
    ],
)
def test_mistakes_in_the_settings(mistake: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MLPConfig(**mistake)  # type: ignore[arg-type]
