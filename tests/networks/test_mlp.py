"""Fully connected networks of points and of small images."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.mlp import MLPConfig, MLPDiscriminatorConfig, MLPGenerator, octaves

SMALL = {"hidden_features": 12, "num_blocks": 2, "latent_size": 3, "time_features": 8}


def lively(sample_shape: tuple[int, ...] = (2,), num_classes: int = 0, **changes: object) -> MLPGenerator:
    torch.manual_seed(0)
    config = MLPConfig(**(SMALL | changes))  # type: ignore[arg-type]
    network = config.build(sample_shape, ConditionShapes(num_classes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"latent_size": 0},
        {"num_frequencies": 3},
        {"sample_shape": (3, 4, 4), "tanh": True},
        {"sample_shape": (1, 6)},
        {"sample_shape": (1, 2, 3, 2)},
        {"num_classes": 3},
    ],
    ids=str,
)
def test_every_parameter_gets_a_finite_gradient(changes: dict[str, Any]) -> None:
    network = lively(**changes)
    x = torch.randn(5, *network.sample_shape)
    told = Condition(label=torch.tensor([0, 1, 2, 3, 0])) if "num_classes" in changes else None
    output = network(x, torch.arange(5) + 1, torch.randn(5, network.config.latent_size), told)
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
    network = MLPDiscriminatorConfig(16, num_layers, 8, num_frequencies).build((2,))
    x_prev, x_t, t = torch.randn(5, 2), torch.randn(5, 2), torch.arange(5) + 1
    logits = network(x_prev, x_t, t)
    assert logits.shape == (5,)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    for changed in [(x_prev + 1, x_t, t), (x_prev, x_t + 1, t), (x_prev, x_t, t + 1)]:
        assert ((network(*changed) - logits).abs() > 1e-6).all()


def test_the_discriminator_takes_images_as_their_numbers() -> None:
    torch.manual_seed(0)
    config = MLPDiscriminatorConfig(16, 3, 8)
    of_images = config.build((3, 4, 5))
    of_points = config.build((60,))
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


def test_the_class_decides_and_none_is_the_null_class() -> None:
    rows = torch.arange(4) + 1
    x, z = torch.randn(4, 2), torch.randn(4, 3)
    generator = lively(num_classes=3)
    discriminator = MLPDiscriminatorConfig(16, 3, 8).build((2,), ConditionShapes(3))
    for network, inputs in ((generator, (x, rows, z)), (discriminator, (x, x + 1, rows))):
        untold, null = network(*inputs), network(*inputs, Condition(label=torch.full((4,), 3)))
        torch.testing.assert_close(untold, null)
        told = network(*inputs, Condition(label=torch.tensor([3, 1, 3, 3])))
        changed = ((told - null).abs().reshape(4, -1) > 1e-5).any(dim=1)
        assert changed.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"num_blocks": 0}, "num_blocks is 0; it must be at least 1"),
        ({"hidden_features": -1}, "hidden_features is -1; it must be at least 1"),
        ({"latent_size": -1}, "latent_size is -1; it must be at least 0"),
        ({"num_frequencies": 17}, "num_frequencies is 17; it must be at most 16"),
        ({"time_features": 3}, "time_features is 3; it must be even"),
        ({"state_shape": (2,)}, "state_shape is not a setting; the settings are hidden_features, num_blocks"),
    ],
)
def test_mistakes_in_the_settings(mistake: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        MLPConfig(**mistake)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"num_layers": 0}, "num_layers is 0; it must be at least 1"),
        ({"time_features": 5}, "time_features is 5; it must be even"),
    ],
)
def test_mistakes_in_the_settings_of_the_discriminator(mistake: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        MLPDiscriminatorConfig(**mistake)
