"""The NCSN++ generator: shapes, gradients, and what each input reaches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ddgan.networks import Generator, NCSNppConfig
from ddgan.networks.layers import NEARLY_ZERO
from ddgan.networks.mapping import MappingNetwork

SMALL = {"image_size": 8, "base_channels": 8, "channel_multipliers": (1, 2), "num_blocks": 1}
SMALL |= {"attention_resolutions": (4,), "latent_size": 5, "mapping_features": 8, "mapping_depth": 1}
VARIANTS = [
    {},
    {"latent_size": 0},
    {"image_channels": 1, "tanh": False},
    {"image_channels": 5, "num_blocks": 2},
    {"image_size": 12, "channel_multipliers": (1, 1, 2), "attention_resolutions": (6, 3)},
    {"channel_multipliers": (3,), "attention_resolutions": ()},
    {"mapping_depth": 0},
    {"base_channels": 20, "attention_resolutions": (8, 4)},
]


def lively(**changes: object) -> Generator:
    """A generator whose nearly-zero layers are not, so that everything reaches the output."""
    torch.manual_seed(0)
    network = Generator(NCSNppConfig(**(SMALL | changes)))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def inputs(network: Generator, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(batch, *network.config.state_shape)
    return x, torch.arange(batch) + 1, torch.randn(batch, network.config.latent_size)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_parameter_gets_a_finite_gradient(changes: dict[str, object]) -> None:
    network = lively(**changes)
    x, t, z = inputs(network)
    output = network(x, t, z)
    assert output.shape == x.shape
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("which", ["x_t", "t", "z"])
def test_each_input_matters_and_to_its_own_image_only(which: str) -> None:
    network = lively().eval()
    x, t, z = inputs(network)
    before = network(x, t, z)
    changed = {"x_t": x.clone(), "t": t.clone(), "z": z.clone()}
    changed[which][1] = {"x_t": x[1] + 1, "t": torch.tensor(9), "z": z[1] + 1}[which]
    after = network(**changed)
    assert (after[1] - before[1]).abs().max() > 1e-4
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]])


def test_without_latent_z_is_empty_and_there_is_no_mapping() -> None:
    network = lively(latent_size=0)
    assert network.mapping is None
    assert not [name for name, _ in network.named_parameters() if "style" in name or "mapping" in name]


def test_tanh_bounds_the_output_and_can_be_left_out() -> None:
    bounded, free = lively(), lively(tanh=False)
    free.load_state_dict(bounded.state_dict())
    x, t, z = inputs(bounded)
    torch.testing.assert_close(bounded(x, t, z), torch.tanh(free(x, t, z)))


def test_a_new_generator_outputs_almost_nothing() -> None:
    network = Generator(NCSNppConfig(**SMALL))  # type: ignore[arg-type]
    output = network(*inputs(network))
    assert 0 < output.abs().max() < 100 * NEARLY_ZERO**0.5


def test_the_mapping_network_sees_only_the_direction_of_z() -> None:
    mapping = MappingNetwork(6, 8, depth=2)
    assert [tuple(layer.weight.shape) for layer in mapping.layers] == [(8, 6), (8, 8), (8, 8)]
    z = torch.randn(4, 6)
    torch.testing.assert_close(mapping(z), mapping(7 * z), rtol=1e-4, atol=1e-6)
    assert (mapping(z) - mapping(-z)).abs().max() > 1e-3


def test_resolutions_are_those_of_the_levels() -> None:
    assert NCSNppConfig(image_size=48, channel_multipliers=(1, 2, 3)).resolutions == (48, 24, 12)


def test_in_double_precision_everything_stays_double() -> None:
    network = lively().double()
    x, t, z = inputs(network)
    assert network(x.double(), t, z.double()).dtype == torch.float64
