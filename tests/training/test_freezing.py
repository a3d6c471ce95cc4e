"""Frozen layers: which they are, that nothing changes them, and that nothing is kept for them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ddgan
from ddgan import RunConfig
from ddgan.config.training import FreezeConfig
from ddgan.data.batch import Batch
from ddgan.models.checkpoint_file import STATE_NAME
from ddgan.training.checkpoint import Checkpoints, state_tensors
from ddgan.training.estimate import estimate
from ddgan.training.freezing import freeze_layers, trained
from ddgan.training.gradients import gradient_norms
from ddgan.training.iteration import iterate
from ddgan.training.setup import build_networks
from ddgan.training.space import checkpoint_bytes
from ddgan.training.state import TrainState
from other_methods import config_of
from steps import SHAPE, changed, fresh, images, made, untimed

BOTH = {"training.freeze": {"generator": 1, "discriminator": 1}}
MLP = {"kind": "mlp", "hidden_features": 16, "time_features": 8}
NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "ncsnpp": ({"training.freeze.generator": 1}, r"(time_embedding|input|encoder\.8x8)\."),
    "ncsnpp, two": ({"training.freeze.generator": 2}, r"(time_embedding|input|encoder)\."),
    "mlp": ({"generator": MLP, "training.freeze.generator": 1}, r"(time_embedding|input|blocks\.0)\."),
    "subbands": (
        {
            "generator": {"kind": "subbands", "network": MLP},
            "training.freeze.generator": 2,
        },
        r"network\.(time_embedding|input|blocks\.[01])\.",
    ),
    "patterns": ({"training.freeze.generator": ["mapping.*", "*.bias"]}, r"mapping\.|.*\.bias$"),
    "resnet": ({"training.freeze.discriminator": 1}, r"pair\.(time_embedding|input|blocks\.0)\."),
    "D mlp": (
        {"method.discriminators.pair": MLP, "training.freeze.discriminator": 2},
        r"pair\.(time_embedding|layers\.[01])\.",
    ),
    "D encoder": (
        {
            "method.discriminators.pair": {"kind": "encoder", "network": MLP},
            "training.freeze.discriminator": 1,
        },
        r"pair\.trunk\.(time_embedding|input|blocks\.0)\.",
    ),
    "D subbands": (
        {
            "method.discriminators.pair": {"kind": "subbands", "network": MLP},
            "training.freeze.discriminator": 1,
        },
        r"pair\.network\.(time_embedding|layers\.0)\.",
    ),
    "D ensemble": (
        {
            "method.discriminators.pair": {"kind": "ensemble", "networks": [MLP, MLP]},
            "training.freeze.discriminator": 1,
        },
        r"pair\.networks\.[01]\.(time_embedding|layers\.0)\.",
    ),
    "each D": (
        {"method.discriminators.marginal": MLP, "training.freeze.discriminator": 1},
        r"pair\.(time_embedding|input|blocks\.0)\.|marginal\.(time_embedding|layers\.0)\.",
    ),
}


def frozen(state: TrainState) -> Iterator[tuple[str, str]]:
    for name, network in state.networks.items():
        for key, parameter in network.named_parameters():
            if not parameter.requires_grad:
                yield name, key


def iterated(state: TrainState, config: RunConfig, steps: int) -> None:
    for step in range(steps):
        x = images(step)
        iterate(state, Batch(x), config.method.draw(config, step, x))


@pytest.mark.parametrize("case", NAMES)
def test_the_layers_are_the_early_ones(tiny_config: RunConfig, case: str) -> None:
    changes, pattern = NAMES[case]
    name = "discriminator" if "training.freeze.discriminator" in changes else "generator"
    networks = build_networks(tiny_config.changed(changes), SHAPE)
    for other, network in networks.items():
        for key, parameter in network.named_parameters():
            assert parameter.requires_grad == (other != name or re.match(pattern, key) is None), key


def test_by_default_nothing_is_frozen(tiny_config: RunConfig) -> None:
    assert list(frozen(fresh(tiny_config))) == []


@pytest.mark.parametrize("training", [{}, {"accumulation": 2}, {"activation_checkpointing": True}], ids=str)
def test_frozen_weights_stay_and_have_no_moments(tiny_config: RunConfig, training: dict[str, Any]) -> None:
    config = changed(tiny_config.changed(BOTH), **training)
    state = made(config)
    kept = set(frozen(state))
    before = {
        (name, key): p.detach().clone()
        for name, net in state.networks.items()
        for key, p in net.named_parameters()
    }
    for ema in state.emas:
        ema.load_state_dict(state.generator.state_dict())
    iterated(state, config, 3)
    assert set(frozen(state)) == kept
    assert {name for name, _ in kept} == {"generator", "discriminator"}
    for name, network in state.networks.items():
        for key, parameter in network.named_parameters():
            is_kept = (name, key) in kept
            assert torch.equal(parameter, before[name, key]) == is_kept, key
            assert (parameter in state.optimizers[name].state) != is_kept
    for key, parameter in state.ema.named_parameters():
        assert torch.equal(parameter, before["generator", key]) == (("generator", key) in kept)
    saved = state_tensors(state)
    assert not any(f"optimizer.{name}.{key}.exp_avg" in saved for name, key in kept)


def test_the_other_weights_get_the_gradients_that_they_had(tiny_config: RunConfig) -> None:
    """Of a first step; R1 goes through the frozen layers of D, and G's loss through all of D."""
    x = images(0)
    noise = tiny_config.method.draw(tiny_config, 0, x)
    found: list[dict[tuple[str, str], Tensor]] = []
    for config in (tiny_config, tiny_config.changed(BOTH)):
        state, seen = made(config), dict[tuple[str, str], Tensor]()

        def remember(
            _: object, state: TrainState = state, seen: dict[tuple[str, str], Tensor] = seen
        ) -> None:
            for name, network in state.networks.items():
                for key, p in network.named_parameters():
                    if p.grad is not None:
                        seen.setdefault((name, key), p.grad.clone())

        state.average_ = remember
        iterate(state, Batch(x), noise)
        found.append(seen)
    plain, ours = found
    kept = set(frozen(made(tiny_config.changed(BOTH))))
    assert ours.keys() == plain.keys() - kept
    for (name, key), gradient in ours.items():
        if name == "discriminator":  # the update of G sees another D
            torch.testing.assert_close(gradient, plain[name, key], msg=key)


def test_norms_of_gradients_are_those_of_trained_weights(tiny_config: RunConfig) -> None:
    x = images(0)
    noise = tiny_config.method.draw(tiny_config, 0, x)
    state = made(tiny_config.changed(BOTH))
    norms = gradient_norms(state, Batch(x), noise)
    whole = gradient_norms(made(tiny_config), Batch(x), noise)
    for name, norm in norms.items():
        assert norm is not None
        assert 0 < norm < whole[name]  # type: ignore[operator]
    assert set(frozen(state)) == set(frozen(made(tiny_config.changed(BOTH))))


def test_memory_and_space_are_those_of_what_is_trained(tiny_config: RunConfig, tmp_path: Path) -> None:
    config = changed(tiny_config.changed(BOTH | {"generator.base_channels": 32}), num_iterations=2)
    state = fresh(config)
    left = sum(
        4 * p.numel() for net in state.networks.values() for p in net.parameters() if not p.requires_grad
    )
    plain, ours = (estimate(one, SHAPE) for one in (config.changed({"training.freeze": {}}), config))
    assert ours.parameters == plain.parameters
    assert ours.state_bytes == plain.state_bytes - 2 * left  # Adam has two moments
    assert ours.iteration_bytes < plain.iteration_bytes
    foreseen = checkpoint_bytes(state)
    run = ddgan.train(config, tmp_path / "run", verbose=False).path
    (last,) = Checkpoints(run / "checkpoints").paths()[-1:]
    assert foreseen <= (last / STATE_NAME).stat().st_size < 1.05 * foreseen


def test_a_run_resumes_exactly(tiny_config: RunConfig, tmp_path: Path) -> None:
    config = changed(tiny_config.changed(BOTH), keep_every=1)
    whole = ddgan.train(config, tmp_path / "whole", verbose=False).path
    shutil.copytree(whole, run := tmp_path / "run")
    for step in (3, 4, 5):
        shutil.rmtree(run / "checkpoints" / f"step-{step:08d}")
    ddgan.resume(run, verbose=False)
    ours, theirs = (Checkpoints(path / "checkpoints").newest()[0] for path in (run, whole))
    assert ours is not None
    assert theirs is not None
    assert all(torch.equal(ours.tensors[name], value) for name, value in theirs.tensors.items())
    assert untimed(run) == untimed(whole)


def test_random_layers_are_not_frozen_without_a_warning(
    tiny_config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ddgan.train(tiny_config.changed(BOTH), tmp_path / "first").path
    assert (
        "training.freeze keeps layers at random initial weights; start from a model"
        in capsys.readouterr().err
    )
    second = ddgan.train(tiny_config.changed(BOTH), tmp_path / "second", init=first).path
    assert "training.freeze" not in capsys.readouterr().err
    ours, theirs = (ddgan.load(path).state_dict() for path in (second, first))
    assert torch.equal(ours["input.weight"], theirs["input.weight"])
    assert not torch.equal(ours["output.weight"], theirs["output.weight"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": 3}, "training.freeze.generator is 3 levels, but the network 'generator' has 2"),
        ({"discriminator": 5}, "training.freeze.discriminator is 5 levels, but the network 'pair' has 2"),
        (
            {"generator": ["inptu.*"]},
            "training.freeze.generator has the pattern 'inptu.*', which fits no weight",
        ),
        ({"discriminator": ["*"]}, "training.freeze.discriminator is ['*'], which freezes all weights"),
        (
            {"generator": "input.*"},
            "training.freeze.generator is 'input.*'; it must be a whole number, or a list",
        ),
        ({"generator": -1}, "training.freeze.generator is -1; it must be at least 0"),
    ],
)
def test_mistakes_are_named(tiny_config: RunConfig, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        fresh(tiny_config.changed({"training.freeze": changes}))


def test_a_method_without_d_has_none_to_freeze() -> None:
    config = config_of("gaussian_diffusion").changed({"training.freeze.discriminator": 1})
    with pytest.raises(
        ValueError, match=r"freeze\.discriminator is set, but the method has none; leave it out"
    ):
        fresh(config, tuple(config.data.open().sample_shape))


def test_a_network_of_ones_own_is_frozen_by_patterns() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

    own = Own()
    with pytest.raises(ValueError, match=r"'generator' names none \(early_layers\); give patterns of names"):
        freeze_layers({"generator": own}, FreezeConfig(generator=1))
    freeze_layers({"generator": own}, FreezeConfig(generator=("first.*",)))
    assert trained(own) == list(own.last.parameters())
