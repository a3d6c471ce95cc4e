"""The published checkpoints: their tensor names, and conversion to our networks.

A published generator numbers its modules in forward order, ``all_modules.<i>``; its mapping network is
``z_transform``. A published discriminator names its parts. The forward order of our modules is defined once,
below, for both directions. Settings are inferred from tensor shapes where possible; given settings must agree
with them.

Two differences go beyond names: the linear layers of the published attention have weights (inputs, outputs),
ours are 1 x 1 convolutions; and the published t runs over 0..T-1, ours over 1..T.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ddgan.config.settings import SettingError
from ddgan.networks.layers import Attention
from ddgan.networks.ncsnpp import Generator, NCSNppConfig, PyramidStep, ResidualBlock, level_name
from ddgan.networks.resnet import Discriminator, ResNetDiscriminatorConfig
from ddgan.system.text import one_line

__all__ = [
    "discriminator_from_state_dict",
    "discriminator_names",
    "generator_from_state_dict",
    "generator_names",
    "published_state_dict",
]

PREFIX = "module."
"""Prefix that multi-process training adds to every name."""

PROJECTIONS = ("query", "key", "value", "output")
PARTS: dict[type[nn.Module], dict[str, str]] = {
    ResidualBlock: {"norm1": "GroupNorm_0", "conv1": "Conv_0", "time": "Dense_0"}
    | {"norm2": "GroupNorm_1", "conv2": "Conv_1", "skip": "Conv_2"},
    Attention: {"norm": "GroupNorm_0"}
    | {f"{ours}.weight": f"NIN_{i}.W" for i, ours in enumerate(PROJECTIONS)}
    | {f"{ours}.bias": f"NIN_{i}.b" for i, ours in enumerate(PROJECTIONS)},
    PyramidStep: {"conv": "Conv2d_0"},
}
DISCRIMINATOR_BLOCK = {"conv1": "conv1.0", "conv2": "conv2.0", "time": "dense_t1", "skip": "skip.0"}
LAYOUTS = {
    "Discriminator_small": ResNetDiscriminatorConfig(),
    "Discriminator_large": ResNetDiscriminatorConfig(
        channel_multipliers=(2, 4, 4, 4, 4, 4), downsample=(True,) * 6
    ),
}

SUPPORTED: dict[str, Any] = {
    "resblock_type": "biggan",
    "progressive": "none",
    "progressive_input": "residual",
    "progressive_combine": "sum",
    "embedding_type": "positional",
    "fir": True,
    "fir_kernel": [1, 3, 3, 1],
    "skip_rescale": True,
    "resamp_with_conv": True,
    "conditional": True,
    "centered": True,
    "dropout": 0,
}
"""Published settings for which only the paper's value is supported."""


def generator_names(config: NCSNppConfig, sample_shape: tuple[int, ...]) -> dict[str, str]:
    """Map our parameter names to the published ones, in the published order."""
    with torch.device("meta"):
        network = Generator(config, sample_shape)
    modules = {name: f"all_modules.{i}" for i, name in enumerate(_forward_order(config, sample_shape))}
    depth = config.mapping_depth + 1 if config.latent_size else 0  # even indices hold no weights
    modules |= {f"mapping.layers.{i}": f"z_transform.{2 * i + 1}" for i in range(depth)}
    return dict(_parameter_names(network, modules))


def discriminator_names(config: ResNetDiscriminatorConfig) -> dict[str, str]:
    """Map our parameter names to the published ones, in the published order."""
    with torch.device("meta"):
        network = Discriminator(config, channels=1)
    time = {"time_embedding.input": "t_embed.main.0", "time_embedding.output": "t_embed.main.2"}
    modules = time | {"input": "start_conv"}
    for i in range(len(config.channel_multipliers)):
        modules |= {f"blocks.{i}.{a}": f"conv{i + 1}.{b}" for a, b in DISCRIMINATOR_BLOCK.items()}
    modules |= {"output_conv": "final_conv", "output": "end_linear"}
    return dict(_parameter_names(network, modules))


def generator_from_state_dict(
    tensors: Mapping[str, Tensor | np.ndarray], *, image_size: int, **settings: Any
) -> Generator:
    """Convert a published generator to ours.

    Args:
        tensors: the state dict; names may have a `module.` prefix, values may have any floating-point
            dtype, which is kept.
        image_size: height and width in pixels, which cannot be inferred.
        settings: the published settings, under their published names. They must agree with the shapes;
            unknown ones are ignored; `not_use_tanh` cannot be checked.

    Raises:
        ValueError: if a setting is not supported or contradicts the file, or if tensors are unknown,
            missing or misshapen.
    """
    _refuse_unsupported(settings)
    tensors = _clean(tensors)
    if not any(name.startswith("z_transform.") for name in tensors):
        raise ValueError(
            "the file has no mapping network (no tensor z_transform.*); it is not a DDGAN generator"
        )
    config, sample_shape = _read_generator(tensors, image_size, not settings.get("not_use_tanh", False))
    sizes = {max(resolution) for resolution in config.resolutions(sample_shape)}
    attention = set(settings.get("attn_resolutions", ()))  # may name sizes that the network does not have
    if attention & sizes == set(config.attention_resolutions):
        settings.pop("attn_resolutions", None)
    read = {
        "z_emb_dim": config.mapping_features,
        "num_channels_dae": config.base_channels,
        "ch_mult": list(config.channel_multipliers),
        "num_res_blocks": config.num_blocks,
        "attn_resolutions": list(config.attention_resolutions),
        "num_channels": sample_shape[0],
        "nz": config.latent_size,
        "n_mlp": config.mapping_depth,
    }
    _refuse_contradictions(settings, read)
    with torch.device("meta"):
        network = Generator(config, sample_shape)
    _load(network, tensors, generator_names(config, sample_shape))
    return network


def discriminator_from_state_dict(
    tensors: Mapping[str, Tensor | np.ndarray], **settings: Any
) -> Discriminator:
    """Convert a published discriminator, small or large, to ours; see `generator_from_state_dict`."""
    tensors = _clean(tensors)
    kind, config, channels = _read_discriminator(tensors)
    read = {"kind": kind, "channels": channels, "t_emb_dim": config.time_features}
    _refuse_contradictions(settings, read | {"ngf": config.base_channels // 2})
    size = settings.get("image_size", config.size_divisor)
    if size % config.size_divisor:
        raise ValueError(f"image_size is {size}, but a {kind} takes multiples of {config.size_divisor}")
    with torch.device("meta"):
        network = Discriminator(config, channels)
    _load(network, tensors, discriminator_names(config))
    return network


def published_state_dict(network: Generator | Discriminator) -> dict[str, Tensor]:
    """Return the network's weights with the published names, shapes and order."""
    if isinstance(network, Generator):
        names = generator_names(network.config, network.sample_shape)
    else:
        names = discriminator_names(network.config)
    ours = network.state_dict()
    return {name: _to_published(name, ours[our_name]) for our_name, name in names.items()}


def _forward_order(config: NCSNppConfig, sample_shape: tuple[int, ...]) -> Iterator[str]:
    """Yield our modules in the order in which the published generator numbers its own."""
    resolutions = config.resolutions(sample_shape)
    yield from ("time_embedding.input", "time_embedding.output", "input")
    for resolution in resolutions:
        level = f"encoder.{level_name(resolution)}"
        for block in range(config.num_blocks):
            yield f"{level}.blocks.{block}"
            if max(resolution) in config.attention_resolutions:
                yield f"{level}.attentions.{block}"
        if resolution != resolutions[-1]:
            yield from (f"{level}.down", f"{level}.pyramid")
    yield from ("middle_block1", "middle_attention", "middle_block2")
    for resolution in reversed(resolutions):
        level = f"decoder.{level_name(resolution)}"
        yield from (f"{level}.blocks.{block}" for block in range(config.num_blocks + 1))
        if max(resolution) in config.attention_resolutions:
            yield f"{level}.attention"
        if resolution != resolutions[0]:
            yield f"{level}.up"
    yield from ("output_norm", "output")


def _parameter_names(network: nn.Module, modules: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (our parameter, published parameter), given the module names on both sides."""
    for module, published in modules.items():
        submodule = network.get_submodule(module)
        renames = PARTS.get(type(submodule), {})
        for name, _ in submodule.named_parameters():
            part = next((ours for ours in renames if f"{name}.".startswith(f"{ours}.")), "")
            yield f"{module}.{name}", f"{published}.{renames.get(part, '')}{name[len(part) :]}"


def _read_generator(
    tensors: Mapping[str, Tensor], image_size: int, tanh: bool
) -> tuple[NCSNppConfig, tuple[int, int, int]]:
    """Infer the settings of a generator and the shape of its samples from tensor shapes.

    Each of L levels has N residual blocks in the encoder and N + 1 in the decoder; L - 1 blocks downsample,
    L - 1 upsample, and two are in the middle: L (2 N + 3) in total. Mismatches are found later, by name.
    """
    modules: dict[str, set[str]] = {"Conv": set(), "Conv2d": set(), "NIN": set()}
    for name in tensors:
        if found := re.match(r"(all_modules\.\d+)\.(Conv|Conv2d|NIN)_", name):
            modules[found[2]].add(found[1])
    num_levels = 1 + len(modules["Conv2d"])
    num_blocks = max(1, round((len(modules["Conv"]) / num_levels - 3) / 2))
    if image_size < 1 or image_size % 2 ** (num_levels - 1):
        raise ValueError(
            f"image_size is {image_size}, but the file has {num_levels} levels, "
            f"so it must be a multiple of {2 ** (num_levels - 1)}"
        )
    _, base = _shape(tensors, "all_modules.0.weight", 2)
    multipliers, attention_resolutions, first = [], [], 3
    for level in range(num_levels):
        multipliers.append(_shape(tensors, f"all_modules.{first}.Conv_0.weight", 4)[0] // base)
        attends = f"all_modules.{first + 1}" in modules["NIN"]
        if attends:
            attention_resolutions.append(image_size >> level)
        first += num_blocks * (1 + attends) + 2
    mapping_features, latent_size = _shape(tensors, "z_transform.1.weight", 2)
    depth = len({name.split(".")[1] for name in tensors if name.startswith("z_transform.")}) - 1
    channels = _shape(tensors, "all_modules.2.weight", 4)[1]
    try:
        config = NCSNppConfig(
            base_channels=base,
            channel_multipliers=tuple(multipliers),
            num_blocks=num_blocks,
            attention_resolutions=tuple(attention_resolutions),
            latent_size=latent_size,
            mapping_features=mapping_features,
            mapping_depth=depth,
            tanh=tanh,
        )
    except SettingError as error:
        raise ValueError(f"the file's generator cannot be built: its {error}") from None
    return config, (channels, image_size, image_size)


def _read_discriminator(tensors: Mapping[str, Tensor]) -> tuple[str, ResNetDiscriminatorConfig, int]:
    """Infer from tensor shapes which of the two discriminators it is, its settings and image channels."""
    large = any(name.startswith("conv6.") for name in tensors)
    kind = "Discriminator_large" if large else "Discriminator_small"
    base, inputs = _shape(tensors, "start_conv.weight", 4)[:2]
    time_features = _shape(tensors, "t_embed.main.0.weight", 2)[1]
    return kind, replace(LAYOUTS[kind], base_channels=base, time_features=time_features), inputs // 2


def _clean(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Remove the prefix from the names, and convert all tensors to one floating-point dtype."""
    clean = {name.removeprefix(PREFIX): torch.as_tensor(value) for name, value in tensors.items()}
    integers = [name for name, value in clean.items() if not value.is_floating_point()]
    _refuse("the file has tensors that are not floating point", integers)
    dtype = reduce(torch.promote_types, {value.dtype for value in clean.values()} or {torch.float32})
    return {name: value.detach().to(dtype) for name, value in clean.items()}


def _shape(tensors: Mapping[str, Tensor], name: str, ndim: int) -> torch.Size:
    if name not in tensors:
        raise ValueError(f"the file lacks the tensor {name}")
    shape = tensors[name].shape
    if len(shape) != ndim or 0 in shape:
        raise ValueError(f"the file's tensor {name} has shape {list(shape)}; expected {ndim} dimensions")
    return shape


def _load(network: nn.Module, tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Check all names and shapes, then load the tensors into `network`, which is on the meta device."""
    shapes = {names[name]: _to_published(names[name], p).shape for name, p in network.named_parameters()}
    _refuse("the file has unknown tensors", [name for name in tensors if name not in shapes])
    _refuse("the file lacks tensors", [name for name in shapes if name not in tensors])
    wrong = {name: shape for name, shape in shapes.items() if tensors[name].shape != shape}
    misshapen = [f"{name} {list(tensors[name].shape)} instead of {list(wrong[name])}" for name in wrong]
    _refuse("the file has misshapen tensors", misshapen)
    ours = {name: _to_ours(published, tensors[published]) for name, published in names.items()}
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in ours.items()}
    network.load_state_dict(copies, assign=True)


def _to_published(name: str, tensor: Tensor) -> Tensor:
    return tensor[:, :, 0, 0].T if name.endswith(".W") else tensor


def _to_ours(name: str, tensor: Tensor) -> Tensor:
    return tensor.T[:, :, None, None] if name.endswith(".W") else tensor


def _refuse_unsupported(settings: Mapping[str, Any]) -> None:
    for name, supported in SUPPORTED.items():
        given = _plain(settings.get(name, supported))
        if given != supported:
            raise ValueError(f"{name} is {given!r}, which is not supported; it must be {supported!r}")


def _refuse_contradictions(settings: Mapping[str, Any], read: Mapping[str, Any]) -> None:
    for name, value in read.items():
        given = _plain(settings.get(name, value))
        if given != value:
            raise ValueError(f"{name} is {given!r}, but the file says {value!r}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _refuse(problem: str, names: list[str], most: int = 3) -> None:
    if names:
        first = ", ".join(map(one_line, names[:most]))
        raise ValueError(f"{problem} ({len(names)}): {first}{', ...' * (len(names) > most)}")
