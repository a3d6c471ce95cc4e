"""Published tensor names and settings; equality of values is in tests/reference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from ddgan.interop.nvlabs import (
    discriminator_from_state_dict,
    generator_from_state_dict,
    published_state_dict,
)
from ddgan.networks.layers import num_groups
from ddgan.networks.ncsnpp import Generator, NCSNppConfig
from ddgan.networks.resnet import Discriminator, ResNetDiscriminatorConfig

SHAPE = (4, 16, 16)
SMALL = NCSNppConfig(
    base_channels=16,
    channel_multipliers=(1, 2, 2),
    num_blocks=2,
    attention_resolutions=(8,),
    latent_size=6,
    mapping_features=12,
    mapping_depth=3,
)
SETTINGS: dict[str, Any] = {
    "image_size": 16,
    "num_channels": 4,
    "num_channels_dae": 16,
    "ch_mult": [1, 2, 2],
    "num_res_blocks": 2,
    "attn_resolutions": (8, 32),  # names a size that the network does not have, as published
    "nz": 6,
    "z_emb_dim": 12,
    "n_mlp": 3,
}


@cache
def published(config: NCSNppConfig = SMALL, shape: tuple[int, ...] = SHAPE) -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = Generator(config, shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return published_state_dict(network)


def published_discriminator(**changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    config = ResNetDiscriminatorConfig(base_channels=16, time_features=8, **changes)
    return published_state_dict(Discriminator(config, channels=3))


VARIANTS: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({}, SHAPE),
    ({"channel_multipliers": (2,), "attention_resolutions": ()}, SHAPE),
    ({"channel_multipliers": (1, 1, 2, 2, 4), "attention_resolutions": (32, 8, 2)}, (4, 32, 32)),
    ({"num_blocks": 3, "mapping_depth": 0, "latent_size": 1}, SHAPE),
    ({"base_channels": 20}, (1, 16, 16)),
]


@pytest.mark.parametrize(("changes", "shape"), VARIANTS, ids=str)
def test_a_generator_survives_the_way_there_and_back(changes: dict[str, Any], shape: tuple[int, ...]) -> None:
    config = replace(SMALL, **changes)
    tensors = published(config, shape)
    network = generator_from_state_dict(tensors, image_size=shape[1])
    assert (network.config, network.sample_shape) == (config, shape)
    again = published_state_dict(network)
    assert list(again) == list(tensors)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_settings_that_agree_are_accepted_and_surplus_ones_too() -> None:
    network = generator_from_state_dict(
        {f"module.{name}": tensor.numpy() for name, tensor in published().items()},
        **SETTINGS,
        fir_kernel=(1, 3, 3, 1),
        not_use_tanh=True,
        use_ema=True,
        batch_size=64,
    )
    assert not network.config.tanh
    assert num_groups(16) == 4


def test_values_keep_their_type() -> None:
    half = {name: tensor.to(torch.bfloat16) for name, tensor in published().items()}
    assert generator_from_state_dict(half, image_size=16).input.weight.dtype == torch.bfloat16
    double = {name: tensor.double().numpy() for name, tensor in published().items()}
    assert generator_from_state_dict(double, image_size=16).input.weight.dtype == torch.float64


@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "image_size"])
def test_settings_that_contradict_the_file_are_refused_by_name(setting: str) -> None:
    wrong = [1, 1] if setting in ("ch_mult", "attn_resolutions") else 99
    with pytest.raises(ValueError, match=rf"{setting} is .*, but the file says"):
        generator_from_state_dict(published(), **(SETTINGS | {setting: wrong}))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("resblock_type", "ddpm"),
        ("progressive", "output_skip"),
        ("progressive_input", "none"),
        ("progressive_combine", "cat"),
        ("embedding_type", "fourier"),
        ("fir", False),
        ("fir_kernel", [1, 2, 1]),
        ("skip_rescale", False),
        ("conditional", False),
        ("dropout", 0.1),
    ],
)
def test_what_is_not_supported_is_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{setting} is .*, which is not supported"):
        generator_from_state_dict(published(), image_size=16, **{setting: value})


def test_tensors_that_are_unknown_missing_or_misshapen_are_named() -> None:
    tensors = published()
    with pytest.raises(ValueError, match=r"unknown tensors \(1\): all_modules.4.Conv_9.weight"):
        generator_from_state_dict(tensors | {"all_modules.4.Conv_9.weight": torch.ones(1)}, image_size=16)
    missing = {name: tensor for name, tensor in tensors.items() if name != "all_modules.4.Conv_1.bias"}
    with pytest.raises(ValueError, match=r"lacks tensors \(1\): all_modules.4.Conv_1.bias"):
        generator_from_state_dict(missing, image_size=16)
    bent = tensors | {"all_modules.4.Conv_1.bias": torch.ones(3)}
    with pytest.raises(ValueError, match=r"misshapen tensors \(1\): all_modules.4.Conv_1.bias \[3\] instead"):
        generator_from_state_dict(bent, image_size=16)
    integer = tensors | {"all_modules.4.Conv_1.bias": torch.ones(16, dtype=torch.int64)}
    with pytest.raises(ValueError, match=r"not floating point \(1\): all_modules.4.Conv_1.bias"):
        generator_from_state_dict(integer, image_size=16)


@pytest.mark.parametrize("tensors", [{}, {"weight": torch.ones(2)}, published_discriminator()], ids=len)
def test_other_files_are_no_generator(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="not a DDGAN generator"):
        generator_from_state_dict(tensors, image_size=16)


def test_a_generator_beyond_our_limits_is_refused_by_name() -> None:
    narrow = {
        name: tensor[:2] if tensor.shape[0] == 16 else tensor for name, tensor in published().items()
    } | {"all_modules.0.weight": torch.ones(8, 2)}
    with pytest.raises(ValueError, match="the file's generator cannot be built: its base_channels is 2; it"):
        generator_from_state_dict(narrow, image_size=16)


def test_an_image_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_size is 18.*multiple of 4"):
        generator_from_state_dict(published(), image_size=18)


LARGE = {"channel_multipliers": (2, 4, 4, 4, 4, 4), "downsample": (True,) * 6}


@pytest.mark.parametrize("changes", [{}, LARGE], ids=["small", "large"])
def test_a_discriminator_survives_the_way_there_and_back(changes: dict[str, Any]) -> None:
    tensors = published_discriminator(**changes)
    kind = "Discriminator_large" if changes else "Discriminator_small"
    network = discriminator_from_state_dict(tensors, kind=kind, ngf=8, t_emb_dim=8, channels=3)
    again = published_state_dict(network)
    assert list(again) == list(tensors)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_a_discriminators_mistakes_are_named() -> None:
    tensors = published_discriminator()
    with pytest.raises(ValueError, match="kind is 'Discriminator_large', but the file says"):
        discriminator_from_state_dict(tensors, kind="Discriminator_large")
    with pytest.raises(ValueError, match="ngf is 64, but the file says 8"):
        discriminator_from_state_dict(tensors, ngf=64)
    with pytest.raises(ValueError, match=r"image_size is 20.*multiples of 8"):
        discriminator_from_state_dict(tensors, image_size=20)
    with pytest.raises(ValueError, match=r"lacks the tensor start_conv.weight"):
        discriminator_from_state_dict({"weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"lacks tensors \(1\): end_linear.bias"):
        discriminator_from_state_dict({n: t for n, t in tensors.items() if n != "end_linear.bias"})
