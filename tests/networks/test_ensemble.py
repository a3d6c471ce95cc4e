"""A discriminator that adds the logits of several."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ddgan import RunConfig
from ddgan.config.settings import SettingError
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.ensemble import EnsembleDiscriminatorConfig
from ddgan.networks.mlp import MLPDiscriminatorConfig
from ddgan.networks.resnet import ResNetDiscriminatorConfig

MLP = MLPDiscriminatorConfig(hidden_features=16, time_features=8)


def resnet(**changes: Any) -> ResNetDiscriminatorConfig:
    settings = {"base_channels": 8, "channel_multipliers": (1,), "downsample": (True,), "time_features": 8}
    return ResNetDiscriminatorConfig(**settings | changes)


def test_the_logit_is_the_sum_and_classes_reach_each_network() -> None:
    network = EnsembleDiscriminatorConfig(networks=(resnet(), MLP)).build(
        (3, 8, 8), ConditionShapes(num_classes=2)
    )
    x_prev, x_t, t = torch.randn(8, 3, 8, 8), torch.randn(8, 3, 8, 8), torch.ones(8, dtype=torch.int64)
    condition = Condition(label=torch.arange(8) % 2)
    found = network(x_prev, x_t, t, condition)
    assert found.shape == (8,)
    torch.testing.assert_close(found, sum(inner(x_prev, x_t, t, condition) for inner in network.networks))


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ((MLP, MLP), [0, 1, 2, 3]),
        ((resnet(stddev_group=2), MLP), [0, 1, 4, 5]),
        ((resnet(stddev_group=2), resnet(stddev_group=4)), [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_rows_that_depend_on_no_others(networks: Any, expected: list[int]) -> None:
    network = EnsembleDiscriminatorConfig(networks=networks).build((3, 8, 8))
    assert list(network.independent_rows(8, 0.5)) == expected


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(SettingError, match=r"networks.1.downsample halves the size 1 times"):
        EnsembleDiscriminatorConfig(networks=(MLP, resnet())).build((3, 9, 9))
    with pytest.raises(ValueError, match=r"networks"):
        EnsembleDiscriminatorConfig(networks=(MLP,))


def test_it_is_chosen_by_its_kind_and_survives_yaml(tiny_config: RunConfig) -> None:
    pair = {"kind": "ensemble", "networks": [{"kind": "mlp"}, {"kind": "resnet", "base_channels": 16}]}
    config = tiny_config.changed({"method.discriminators.pair": pair})
    assert RunConfig.from_dict(config.to_dict()) == config
    assert config.method.discriminators["pair"].networks[1].base_channels == 16
