"""How networks of every family take labels, vectors and images as conditions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ddgan.networks import layers
from ddgan.networks.conditions import Condition, ConditionShapes, with_presence
from ddgan.networks.encoder import EncoderDiscriminatorConfig
from ddgan.networks.ensemble import EnsembleDiscriminatorConfig
from ddgan.networks.mlp import MLPConfig, MLPDiscriminatorConfig
from ddgan.networks.ncsnpp import MappingNetwork, NCSNppConfig
from ddgan.networks.refined import RefinedGeneratorConfig
from ddgan.networks.resnet import ResNetDiscriminatorConfig
from ddgan.networks.subbands import (
    SubbandDiscriminator,
    SubbandDiscriminatorConfig,
    SubbandGenerator,
    SubbandGeneratorConfig,
    split,
)

SHAPES = ConditionShapes(num_classes=3, vector_features=2, image_channels=2)
UNET = NCSNppConfig(
    base_channels=8,
    channel_multipliers=(1, 2),
    num_blocks=1,
    attention_resolutions=(),
    latent_size=4,
    mapping_features=8,
    mapping_depth=1,
)
MLP = MLPConfig(hidden_features=16, num_blocks=2, latent_size=4, time_features=8, num_frequencies=1)
SMALL: dict[str, Any] = {
    "base_channels": 8,
    "channel_multipliers": (1, 2),
    "downsample": (False, True),
    "time_features": 8,
    "stddev_group": 0,
}
RESNET = ResNetDiscriminatorConfig(**SMALL)
D_MLP = MLPDiscriminatorConfig(hidden_features=16, time_features=8, num_frequencies=1)
GENERATORS: dict[str, Any] = {
    "ncsnpp": UNET,
    "ncsnpp without a latent": NCSNppConfig(
        base_channels=8, channel_multipliers=(1, 1), num_blocks=1, attention_resolutions=(), latent_size=0
    ),
    "mlp": MLP,
    "haar of ncsnpp": SubbandGeneratorConfig(network=UNET),
    "unshuffled mlp": SubbandGeneratorConfig(transform="unshuffle", network=MLP),
    "refined": RefinedGeneratorConfig(
        coarse=MLP, fine=SubbandGeneratorConfig(network=dataclasses.replace(UNET, tanh=False))
    ),
}
DISCRIMINATORS: dict[str, Any] = {
    "resnet": RESNET,
    "resnet by embedding": ResNetDiscriminatorConfig(**SMALL, conditioning="embedding"),
    "mlp": D_MLP,
    "mlp by embedding": MLPDiscriminatorConfig(hidden_features=16, time_features=8, conditioning="embedding"),
    "haar of resnet": SubbandDiscriminatorConfig(network=RESNET),
    "unshuffled mlp": SubbandDiscriminatorConfig(transform="unshuffle", network=D_MLP),
    "ensemble": EnsembleDiscriminatorConfig(networks=(RESNET, D_MLP)),
    "encoder of ncsnpp": EncoderDiscriminatorConfig(network=UNET, stddev_group=0),
    "encoder by embedding": EncoderDiscriminatorConfig(
        network=UNET, stddev_group=0, conditioning="embedding"
    ),
    "encoder of haar of mlp": EncoderDiscriminatorConfig(
        network=SubbandGeneratorConfig(network=MLP), stddev_group=0
    ),
}
NETWORKS = [(True, name) for name in GENERATORS] + [(False, name) for name in DISCRIMINATORS]
EVERY = pytest.mark.parametrize(("is_generator", "name"), NETWORKS)


def lively(
    is_generator: bool,
    name: str,
    sample_shape: tuple[int, ...] = (1, 4, 8),
    shapes: ConditionShapes = SHAPES,
    seed: int = 0,
) -> nn.Module:
    """A network in double precision, none of whose layers is at its start."""
    torch.manual_seed(seed)
    config = (GENERATORS if is_generator else DISCRIMINATORS)[name]
    network: nn.Module = config.build(sample_shape, shapes).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def given(sample_shape: tuple[int, ...], count: int = 4, seed: int = 5) -> Condition:
    rng = torch.Generator().manual_seed(seed)
    vector = torch.randn(count, 2, generator=rng, dtype=torch.float64)
    image = torch.randn(count, 2, *sample_shape[1:], generator=rng, dtype=torch.float64)
    return Condition(torch.arange(count) % 3, with_presence(vector), with_presence(image))


def called(
    network: nn.Module, is_generator: bool, sample_shape: tuple[int, ...], condition: Condition | None
) -> Tensor:
    """The output for the same x, t and z each time."""
    rng = torch.Generator().manual_seed(7)
    x, other = torch.randn(2, 4, *sample_shape, generator=rng, dtype=torch.float64)
    t = torch.tensor([1, 2, 3, 1])
    if is_generator:
        inner = getattr(network, "network", network)
        z = torch.randn(4, inner.config.latent_size, generator=rng, dtype=torch.float64)  # type: ignore[union-attr]
        return network(x, t, z, condition)  # type: ignore[no-any-return]
    return network(x, other, t, condition)  # type: ignore[no-any-return]


@EVERY
@pytest.mark.parametrize("sample_shape", [(1, 4, 8), (2, 8), (1, 4, 4, 8)], ids=str)
def test_each_part_matters_and_to_its_own_sample_only(
    is_generator: bool, name: str, sample_shape: tuple[int, ...]
) -> None:
    network, condition = lively(is_generator, name, sample_shape), given(sample_shape)
    before = called(network, is_generator, sample_shape, condition)
    for part in Condition._fields:
        changed = getattr(condition, part).clone()
        changed[1] = 2 if part == "label" else changed[1] + 1
        after = called(network, is_generator, sample_shape, condition._replace(**{part: changed}))
        differs = ((after - before).abs().reshape(4, -1) > 1e-7).any(dim=1)
        assert differs.tolist() == [False, True, False, False], part


@EVERY
def test_none_is_the_null_condition_and_no_vector_is_not_a_vector_of_zeros(
    is_generator: bool, name: str
) -> None:
    shape = (1, 4, 8)
    network = lively(is_generator, name)
    null = SHAPES.null(4, shape)
    assert null is not None
    nothing = called(network, is_generator, shape, null)
    torch.testing.assert_close(called(network, is_generator, shape, None), nothing)
    torch.testing.assert_close(called(network, is_generator, shape, Condition()), nothing)
    for zeros in (
        null._replace(vector=with_presence(torch.zeros(4, 2))),
        null._replace(image=with_presence(torch.zeros(4, 2, 4, 8))),
    ):
        difference = called(network, is_generator, shape, zeros) - nothing
        assert (difference.abs().reshape(4, -1).amax(dim=1) > 1e-7).all()


@EVERY
def test_every_parameter_gets_a_gradient(is_generator: bool, name: str) -> None:
    shape = (1, 4, 8)
    network = lively(is_generator, name)
    output = called(network, is_generator, shape, given(shape))
    (output * torch.randn_like(output)).sum().backward()
    trunk_ignores = "mapping.layers.0" if name == "encoder of ncsnpp" else "\0"  # its z is 0
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any() or trunk_ignores in parameter_name or "latent" in parameter_name


@EVERY
def test_without_conditions_a_network_has_no_further_weights_and_needs_none(
    is_generator: bool, name: str
) -> None:
    plain = lively(is_generator, name, shapes=ConditionShapes())
    with_all = dict(lively(is_generator, name).named_parameters())
    if name != "ncsnpp without a latent":  # whose norms have weights of their own without a mapping network
        assert {key for key, _ in plain.named_parameters()} <= with_all.keys()
    shape = (1, 4, 8)
    expected = called(plain, is_generator, shape, None)
    torch.testing.assert_close(called(plain, is_generator, shape, given(shape)), expected)


@EVERY
def test_the_conditions_may_be_of_another_type_than_the_weights(is_generator: bool, name: str) -> None:
    shape = (1, 4, 8)
    network, condition = lively(is_generator, name), given(shape)
    expected = called(network, is_generator, shape, condition)
    short = condition._replace(vector=condition.vector.float(), image=condition.image.float())
    torch.testing.assert_close(called(network, is_generator, shape, short), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transform", ["haar", "unshuffle"])
def test_subbands_give_the_inner_network_those_of_the_image_and_its_presence(transform: Any) -> None:
    class Listening(nn.Module):
        def forward(self, x: Tensor, *others: Any) -> Tensor:
            self.heard = others[-1]
            return x

    condition = given((1, 4, 8))
    x, t = torch.randn(4, 1, 4, 8, dtype=torch.float64), torch.ones(4)
    for network in (SubbandGenerator(transform, Listening()), SubbandDiscriminator(transform, Listening())):
        network(x, t if isinstance(network, SubbandGenerator) else x, t, condition)
        heard: Any = network.network.heard
        assert torch.equal(heard.image, with_presence(split(condition.image[:, :2], transform)))
        assert heard[:2] == condition[:2]
    inner: Any = SubbandGeneratorConfig(transform=transform, network=UNET).build((1, 4, 8), SHAPES)
    assert inner.image_inputs == 4 * 2 + 1


def test_the_input_pyramid_sees_the_image_condition_too() -> None:
    network: Any = lively(True, "ncsnpp")
    first = network.encoder["4x8"].pyramid.conv.weight
    assert first.shape[1] == 1 + 2 + 1
    assert network.input.weight.shape[1] == 1 + 2 + 1


def test_a_vector_enters_the_mapping_network_without_a_norm() -> None:
    mapping = MappingNetwork(0, 6, 0, ConditionShapes(vector_features=2)).double()
    vector = torch.tensor([[3.0, -1.0, 1.0]], dtype=torch.float64)
    assert mapping.vector is not None
    inner = mapping.vector.linear.weight @ vector[0]
    expected = nn.functional.silu(mapping.layers[0].weight @ inner + mapping.layers[0].bias)
    z = torch.zeros(1, 0, dtype=torch.float64)
    torch.testing.assert_close(mapping(z, Condition(vector=vector))[0], expected)


def test_a_vector_embedding_has_the_scale_that_was_asked_for() -> None:
    torch.manual_seed(0)
    for scale in (1.0, 0.1):
        embedding = layers.VectorEmbedding(9, 400, scale)
        found = embedding(with_presence(torch.randn(500, 8)), 500).detach()
        assert float(found.square().mean().sqrt()) == pytest.approx(scale, rel=0.05)
        assert not embedding(torch.zeros(2, 9), 2).any()
        assert not embedding(None, 2).any()


def test_the_projection_is_an_inner_product_of_features_and_embeddings() -> None:
    projection = layers.condition_projection(ConditionShapes(3, 2), 5)
    assert projection is not None
    condition = Condition(torch.tensor([2, 3]), with_presence(torch.randn(2, 2)))
    features, logits = torch.randn(2, 5), torch.randn(2)
    of_label = projection.classes.table.weight[condition.label]
    of_vector = condition.vector @ projection.vector.linear.weight.T
    expected = logits + (features * (of_label + of_vector)).sum(1)
    torch.testing.assert_close(layers.projected(logits, projection, features, condition), expected)
    assert layers.condition_projection(ConditionShapes(image_channels=1), 5) is None


@pytest.mark.parametrize("network", ["ncsnpp", "mlp", "haar of ncsnpp", "unshuffled mlp"])
def test_an_encoder_takes_that_of_a_generator_with_an_image(network: str) -> None:
    """The trunk sees x_{t-1} and the image as G sees x_t and the image, and x_t not yet."""
    shape, conditions = (1, 4, 8), ConditionShapes(image_channels=2)
    torch.manual_seed(1)
    generator: Any = GENERATORS[network].build(shape, conditions).double()
    d: Any = EncoderDiscriminatorConfig(network=GENERATORS[network]).build(shape, conditions).double()
    assert d.take_encoder(generator) == len(list(d.trunk.parameters()))
    x_prev, x_t = torch.randn(2, 4, *shape, dtype=torch.float64)
    t, z, image = torch.arange(4) + 1, torch.zeros(4, 4, dtype=torch.float64), given(shape)
    with torch.no_grad():
        seen = d.trunk.encode(torch.cat([x_prev, x_t], dim=1), t, z, image)
        torch.testing.assert_close(seen, generator.encode(x_prev, t, z, image))
