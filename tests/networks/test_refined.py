"""A generator whose second network refines the prediction of its first."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ddgan import RunConfig
from ddgan.config.settings import SettingError
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.mlp import MLPConfig
from ddgan.networks.ncsnpp import NCSNppConfig
from ddgan.networks.refined import RefinedGeneratorConfig

COARSE = MLPConfig(hidden_features=16, num_blocks=1, latent_size=4, time_features=8)


def fine(**changes: Any) -> NCSNppConfig:
    sizes = {"base_channels": 8, "channel_multipliers": (1,), "num_blocks": 1, "attention_resolutions": ()}
    return NCSNppConfig(**sizes | {"latent_size": 4, "mapping_features": 8, "tanh": False} | changes)


def given(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(batch, 3, 8, 8), torch.ones(batch, dtype=torch.int64), torch.randn(batch, 4)


@pytest.mark.parametrize("latent_size", [0, 4])
def test_the_prediction_is_that_of_coarse_plus_what_fine_adds(latent_size: int) -> None:
    config = RefinedGeneratorConfig(coarse=COARSE, fine=fine(latent_size=latent_size))
    network = config.build((3, 8, 8), ConditionShapes(num_classes=2))
    for parameter in network.parameters():  # both begin with outputs near 0
        torch.nn.init.normal_(parameter, std=0.3)
    (x_t, t, z), condition = given(), Condition(label=torch.tensor([0, 1, 2]))
    coarse = network.coarse(x_t, t, z, condition)
    added = network.fine(torch.cat([x_t, coarse.tanh()], dim=1), t, z[:, :latent_size], condition)[:, :3]
    found = network(x_t, t, z, condition)
    torch.testing.assert_close(found, torch.tanh(coarse + added))
    assert added.abs().mean() > 0.01
    assert config.latent_size == 4


def test_it_begins_as_coarse() -> None:
    network = RefinedGeneratorConfig(coarse=COARSE, fine=fine(), tanh=False).build((3, 8, 8))
    x_t, t, z = given()
    torch.testing.assert_close(network(x_t, t, z), network.coarse(x_t, t, z), rtol=0, atol=1e-3)


def test_the_defaults_fit_together() -> None:
    config = RefinedGeneratorConfig()
    assert config.latent_size == config.fine.latent_size == 100
    assert config.activation_floats((3, 32, 32)) > 0


def test_both_networks_have_gradients() -> None:
    network = RefinedGeneratorConfig(coarse=COARSE, fine=fine()).build((3, 8, 8))
    network(*given()).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(ValueError, match=r"fine\.tanh is true, .*; set it to false"):
        RefinedGeneratorConfig(coarse=COARSE, fine=fine(tanh=True))
    with pytest.raises(ValueError, match=r"fine has a latent_size of 7; it must be that of coarse, 4, or 0"):
        RefinedGeneratorConfig(coarse=COARSE, fine=fine(latent_size=7))
    with pytest.raises(SettingError, match=r"fine\.channel_multipliers"):
        RefinedGeneratorConfig(coarse=COARSE, fine=fine(channel_multipliers=(1, 1))).build((3, 9, 9))


def test_it_is_chosen_by_its_kind_and_survives_yaml(tiny_config: RunConfig) -> None:
    unet = {"kind": "ncsnpp", "base_channels": 8, "latent_size": 2, "tanh": False}
    generator = {"kind": "refined", "coarse": {"kind": "mlp"}, "fine": unet}
    config = tiny_config.changed({"generator": generator})
    assert RunConfig.from_dict(config.to_dict()) == config
    assert config.generator.fine.base_channels == 8
