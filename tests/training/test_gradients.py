"""The norms of the gradients of the terms of each loss."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

import ddgan
from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.data.digits import StackedDigits
from ddgan.training.gradients import gradient_norms
from ddgan.training.noise import draw_noise
from ddgan.training.state import TrainState
from steps import made

BATCH = Batch(StackedDigits(seed=0).batch(0, 6).x)
SETTINGS = {
    "method.penalties": [{"kind": "r1", "gamma": 0.05, "every": 4}, {"kind": "centring", "every": 3}],
    "method.reconstruction": {"kind": "l2", "weight": 2.0},
    "method.transport": {"weight": 0.01, "form": "added"},
}


def measured(state: TrainState) -> dict[str, float | None]:
    noise = draw_noise(0, state.step, BATCH.x, state.diffusion.num_steps, 4)
    return gradient_norms(state, BATCH, noise)


def test_every_term_of_both_losses_is_measured_whenever_it_is_due(tiny_config: RunConfig) -> None:
    state = made(tiny_config.changed(SETTINGS))
    state.step = 29  # neither penalty is due; both were at 24
    norms = measured(state)
    assert list(norms) == [
        "gradient_discriminator_adversarial",
        "gradient_discriminator_r1",
        "gradient_discriminator_centring",
        "gradient_generator_adversarial",
        "gradient_generator_transport",
        "gradient_generator_reconstruction",
    ]
    assert all(norm is not None and norm > 0 for norm in norms.values())


def test_the_norm_is_that_of_the_gradient_of_the_mean_term(tiny_config: RunConfig) -> None:
    state = made(tiny_config.changed({"method.penalties": []}))
    noise = draw_noise(0, 0, BATCH.x, state.diffusion.num_steps, 4)
    loss = state.method.generator_loss(state, BATCH, noise)[0]["adversarial"].mean()  # type: ignore[attr-defined]
    gradients = torch.autograd.grad(loss, list(state.generator.parameters()))
    expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert measured(state)["gradient_generator_adversarial"] == pytest.approx(float(expected), rel=1e-5)


def test_a_term_of_twice_the_weight_pulls_twice_as_hard(tiny_config: RunConfig) -> None:
    name = "gradient_generator_reconstruction"
    once, twice = (
        measured(made(tiny_config.changed({"method.reconstruction": {"kind": "l2", "weight": weight}})))[name]
        for weight in (1.5, 3.0)
    )
    assert once is not None
    assert twice == pytest.approx(2 * once, rel=1e-5)


def test_measuring_changes_nothing(tiny_config: RunConfig) -> None:
    state = made(tiny_config.changed(SETTINGS))
    before = copy.deepcopy({name: network.state_dict() for name, network in state.networks.items()})
    measured(state)
    for name, network in state.networks.items():
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[name][key])


def test_a_term_that_is_not_finite_has_no_norm(tiny_config: RunConfig) -> None:
    state = made(tiny_config.changed({"method.penalties": []}))
    with torch.no_grad():
        next(state.discriminators.parameters()).fill_(torch.nan)
    assert measured(state)["gradient_discriminator_adversarial"] is None


def test_the_log_has_the_norms_if_asked_for_and_the_weights_stay_the_same(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    generators = []
    for asked in (False, True):
        out = tmp_path / str(asked)
        changes = SETTINGS | {"training.gradient_norms": asked, "training.log_every": 2}
        run = ddgan.train(tiny_config.changed(changes), out, verbose=False)
        generators.append(run.model.generator.state_dict())
        records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert all(("gradient_discriminator_r1" in record) == asked for record in records)
    assert all(torch.equal(generators[0][name], generators[1][name]) for name in generators[0])
