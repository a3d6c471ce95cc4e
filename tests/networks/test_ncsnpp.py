"""The NCSN++ generator: shapes, gradients, and what each input reaches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.layers import NEARLY_ZERO, Attention
from ddgan.networks.ncsnpp import Generator, MappingNetwork, NCSNppConfig

SMALL: dict[str, Any] = {"base_channels": 8, "channel_multipliers": (1, 2), "num_blocks": 1}
SMALL |= {"attention_resolutions": (4,), "latent_size": 5, "mapping_features": 8, "mapping_depth": 1}
VARIANTS = [
    {},
    {"latent_size": 0},
    {"sample_shape": (1, 8, 8), "tanh": False},
    {"sample_shape": (5, 8, 8), "num_blocks": 2},
    {"sample_shape": (3, 12, 12), "channel_multipliers": (1, 1, 2), "attention_resolutions": (6, 3)},
    {"sample_shape": (2, 4, 12), "attention_resolutions": (6,)},
    {"num_classes": 2},
    {"num_classes": 2, "latent_size": 0},
    {"channel_multipliers": (3,), "attention_resolutions": ()},
    {"mapping_depth": 0},
    {"base_channels": 20, "attention_resolutions": (8, 4)},
]


def lively(sample_shape: tuple[int, ...] = (3, 8, 8), num_classes: int = 0, **changes: Any) -> Generator:
    """A generator whose nearly-zero layers are not, so that everything reaches the output."""
    torch.manual_seed(0)
    network = NCSNppConfig(**(SMALL | changes)).build(sample_shape, ConditionShapes(num_classes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def inputs(network: Generator, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(batch, *network.sample_shape)
    return x, torch.arange(batch) + 1, torch.randn(batch, network.config.latent_size)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_parameter_gets_a_finite_gradient(changes: dict[str, Any]) -> None:
    network = lively(**changes)
    x, t, z = inputs(network)
    told = Condition(label=torch.arange(3)) if "num_classes" in changes else None
    output = network(x, t, z, told)
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
    network = NCSNppConfig(**SMALL).build((3, 8, 8))
    output = network(*inputs(network))
    assert 0 < output.abs().max() < 100 * NEARLY_ZERO**0.5


def test_the_mapping_network_sees_only_the_direction_of_z() -> None:
    mapping = MappingNetwork(6, 8, depth=2)
    assert [tuple(layer.weight.shape) for layer in mapping.layers] == [(8, 6), (8, 8), (8, 8)]
    z = torch.randn(4, 6)
    torch.testing.assert_close(mapping(z), mapping(7 * z), rtol=1e-4, atol=1e-6)
    assert (mapping(z) - mapping(-z)).abs().max() > 1e-3


def test_resolutions_are_those_of_the_levels() -> None:
    config = NCSNppConfig(channel_multipliers=(1, 2, 3))
    assert config.resolutions((3, 48, 48)) == [(48, 48), (24, 24), (12, 12)]
    assert config.resolutions((1, 8, 20)) == [(8, 20), (4, 10), (2, 5)]
    assert config.resolutions((2, 96)) == [(96,), (48,), (24,)]
    assert config.resolutions((1, 8, 12, 20)) == [(8, 12, 20), (4, 6, 10), (2, 3, 5)]


def test_the_longest_side_decides_about_attention() -> None:
    network = NCSNppConfig(**(SMALL | {"attention_resolutions": (6,)})).build((1, 4, 12, 8))
    places = [name for name, module in network.named_modules() if isinstance(module, Attention)]
    assert sorted({name.split(".")[1] for name in places if "." in name}) == ["2x6x4"]


@pytest.mark.parametrize("sample_shape", [(2, 24), (1, 12, 20), (1, 4, 8, 12)], ids=str)
def test_samples_of_any_shape(sample_shape: tuple[int, ...]) -> None:
    network = lively(sample_shape=sample_shape, num_classes=2)
    x, t, z = inputs(network)
    output = network(x, t, z, Condition(label=torch.tensor([0, 1, 2])))
    assert output.shape == x.shape
    (output * torch.randn_like(output)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    assert network.encode(x, t, z).shape == (3, network.encoded_size)
    assert len(network.early_layers) == 2


def test_a_network_of_equal_slices_is_that_of_a_slice() -> None:
    """With kernels that see one slice at a time, all slices of such a volume get the output of an image."""
    flat, deep = (
        lively(sample_shape=shape, channel_multipliers=(2,), attention_resolutions=(8,)).double()
        for shape in ((3, 8, 6), (3, 5, 8, 6))
    )
    weights = flat.state_dict()
    for name, weight in deep.state_dict().items():
        given = weights[name.replace("5x8x6", "8x6")]
        if weight.ndim == 5:
            middle = torch.zeros_like(weight)
            middle[:, :, weight.shape[2] // 2] = given
            given = middle
        weight.copy_(given)
    x, t, z = (value.double() if value.is_floating_point() else value for value in inputs(flat))
    expected = flat(x, t, z).unsqueeze(2).expand(-1, -1, 5, -1, -1)
    torch.testing.assert_close(deep(x.unsqueeze(2).expand_as(expected), t, z), expected)


@pytest.mark.parametrize("order", [(1, 0), (2, 0, 1)], ids=str)
def test_all_axes_are_treated_alike(order: tuple[int, ...]) -> None:
    """Samples and kernels with their axes in another order give the same output in that order."""
    sizes = (4, 8, 12)[: len(order)]
    turned_sizes = tuple(sizes[axis] for axis in order)
    network, other = (lively(sample_shape=(2, *one)).double() for one in (sizes, turned_sizes))
    levels = dict(zip(other.encoder, network.encoder, strict=True))

    def turned(x: Tensor) -> Tensor:
        return x.permute(0, 1, *(2 + axis for axis in order))

    weights = network.state_dict()
    for name, weight in other.state_dict().items():
        given = weights[".".join(levels.get(part, part) for part in name.split("."))]
        weight.copy_(turned(given) if given.ndim > 2 else given)
    x, t, z = (value.double() if value.is_floating_point() else value for value in inputs(network))
    torch.testing.assert_close(other(turned(x), t, z), turned(network(x, t, z)))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (
            (3, 12, 10),
            r"channel_multipliers is \[1, 2, 2\], which halves the size 2 times, but the samples have size "
            r"12 x 10; use sizes that are multiples of 4, or fewer multipliers",
        ),
        (
            (2,),
            r"kind is ncsnpp, which takes signals \(C, L\), images \(C, H, W\) or volumes \(C, D, H, W\), "
            r"but the samples have shape \[2\]; use the kind mlp",
        ),
    ],
)
def test_samples_that_do_not_fit_are_refused(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        NCSNppConfig(channel_multipliers=(1, 2, 2)).build(shape)


def test_the_class_decides_and_none_is_the_null_class() -> None:
    network = lively(num_classes=2)
    x, t, z = inputs(network)
    null = network(x, t, z, Condition(label=torch.full((3,), 2)))
    torch.testing.assert_close(network(x, t, z), null)
    told = network(x, t, z, Condition(label=torch.tensor([2, 0, 2])))
    assert ((told - null).abs().amax(dim=(1, 2, 3)) > 1e-4).tolist() == [False, True, False]


def test_in_double_precision_everything_stays_double() -> None:
    network = lively().double()
    x, t, z = inputs(network)
    assert network(x.double(), t, z.double()).dtype == torch.float64
