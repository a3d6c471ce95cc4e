"""Loss scaling: exact, adapting, and no failure while it settles."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import ddgan
from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.models.checkpoint_file import read_checkpoint
from ddgan.models.run_folder import read_log
from ddgan.system.processes import Processes
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.gradients import gradient_norms
from ddgan.training.iteration import iterate, take
from ddgan.training.loss_scale import GROWTH_INTERVAL, LEAST, MOST, START, LossScale
from ddgan.training.optimizers import AdamConfig, AdamWConfig, SGDConfig, guarded_update
from ddgan.training.state import TrainState, Update
from steps import changed, flat, images, made, one_update, untimed
from training.test_optimizers import OwnOptimizer

YES, NO = torch.tensor(1.0), torch.tensor(0.0)
EXACT = {"method.penalties": [{"kind": "r1", "gamma": 0.05}]}
DIFFERENCES = {"method.penalties": [{"kind": "r1", "gamma": 0.05, "epsilon": 1e-3, "share": 0.5}]}
"""So small that in float16 they would be mostly rounding."""


def in_fp16(config: RunConfig, factor: float = 2.0**8, **training: object) -> TrainState:
    """A state in float16, with a loss scale that suits the small batches of these tests."""
    state = made(changed(config, precision="fp16", **training))
    for scale in state.loss_scales.values():
        scale.factor.fill_(factor)
    return state


def flattened(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


def test_a_factor_is_halved_by_an_overflow_and_doubled_after_many_updates() -> None:
    scale = LossScale.create()
    assert float(scale.factor) == START
    assert float(scale.adjust(YES)) == 0
    assert float(scale.factor) == START / 2
    for _ in range(GROWTH_INTERVAL - 1):
        scale.adjust(NO)
    assert scale.values() == [START / 2, GROWTH_INTERVAL - 1]
    scale.adjust(NO)
    assert scale.values() == [START, 0]
    scale.factor.fill_(MOST)
    scale.num_finite.fill_(GROWTH_INTERVAL - 1)
    scale.adjust(NO)
    assert scale.values() == [MOST, 0]


def test_an_update_fails_only_where_a_smaller_factor_cannot_help() -> None:
    scale = LossScale.create()
    halvings = int(math.log2(START / LEAST))
    assert [float(scale.adjust(YES)) for _ in range(halvings + 2)] == [0.0] * halvings + [1.0, 1.0]
    assert float(scale.factor) == LEAST
    assert float(scale.adjust(NO)) == 0


@pytest.mark.parametrize(
    "config", [AdamConfig(lr=0.1), AdamWConfig(lr=0.1), SGDConfig(lr=0.1), None], ids=str
)
def test_scaled_gradients_make_the_same_update_to_the_bit(config: AdamConfig | None) -> None:
    networks = [nn.Linear(5, 3) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers = [
        OwnOptimizer(one.parameters()) if config is None else config.build(one.parameters())
        for one in networks
    ]
    factor = torch.tensor(2.0**15)
    for step in range(4):
        for network, scaled in zip(networks, (1.0, factor), strict=True):
            rng = torch.Generator().manual_seed(step)
            for parameter in network.parameters():
                parameter.grad = scaled * torch.randn(parameter.shape, generator=rng)
        assert float(guarded_update(optimizers[0], 0.1)) == 0
        assert float(guarded_update(optimizers[1], 0.1, factor)) == 0
    for ours, theirs in zip(networks[1].parameters(), networks[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("penalties", [EXACT, DIFFERENCES], ids=["exact", "differences"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_gradients_are_those_of_float32(
    tiny_config: RunConfig, penalties: dict[str, object], parts: int, name: str
) -> None:
    config, x = tiny_config.changed(penalties), images(0)
    noise = config.method.draw(config, 0, x)
    expected, plain = one_update(made(changed(config, accumulation=parts)), name, x, noise)
    state = in_fp16(config, accumulation=parts)
    found, scaled = one_update(state, name, x, noise)
    assert float(found[f"loss_scale_{name}"]) == 2.0**8
    ours, theirs = flattened(scaled) / 2.0**8, flattened(plain)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-2
    assert all(gradient.dtype == torch.float32 for gradient in scaled.values())
    if name == "discriminator":
        torch.testing.assert_close(found["r1"], expected["r1"])  # penalties are computed in float32


def test_gradients_that_would_vanish_arrive(tiny_config: RunConfig) -> None:
    """In float16 a gradient of less than 3e-8 is 0, unless its loss is scaled."""

    def loss(state: TrainState, batch: Batch, noise: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        with torch.autocast("cpu", torch.float16):
            y = nn.functional.linear(
                batch.x.flatten(1), state.generator.input.weight[:, :, 0, 0].repeat(1, 64)
            )
        return {"small": 1e-8 * y.float().mean(dim=1)}, {}

    norms = []
    for factor in (1.0, 2.0**16):
        state = in_fp16(tiny_config, factor)
        seen: list[float] = []
        state.average_ = lambda tensors, seen=seen, f=factor: seen.extend(
            float(t.norm()) / f for t in tensors
        )
        take(state, Update("generator", loss), Batch(images(0)), None)
        norms += seen
    assert norms[0] == 0
    assert norms[1] > 0


def test_overflows_are_no_failures_while_the_scale_settles(tiny_config: RunConfig) -> None:
    state, x = in_fp16(tiny_config, MOST), images(0)
    before = [p.detach().clone() for p in state.discriminators.parameters()]
    noise = tiny_config.method.draw(tiny_config, 0, x)
    statistics = flat(iterate(state, Batch(x), noise))
    assert float(statistics["skipped"]) == 0
    assert int(state.streak) == state.most_skipped() == 0
    assert all(map(torch.equal, before, state.discriminators.parameters()))
    assert float(statistics["loss_scale_discriminator"]) == MOST
    assert float(state.loss_scales["discriminator"].factor) == MOST / 2
    for _ in range(24):
        statistics = flat(iterate(state, Batch(x), noise))
    assert float(state.loss_scales["discriminator"].factor) > LEAST
    assert not any(map(torch.equal, before[:1], state.discriminators.parameters()))
    assert state.is_finite()


def test_a_batch_that_is_not_finite_is_still_a_failure_in_the_end(tiny_config: RunConfig) -> None:
    state, x = in_fp16(tiny_config, 4.0), torch.full((8, 3, 8, 8), math.nan)
    noise = tiny_config.method.draw(tiny_config, 0, images(0))
    skipped = [float(flat(iterate(state, Batch(x), noise))["skipped"]) for _ in range(4)]
    assert skipped == [0, 0, 2, 2]
    assert state.most_skipped() == 2


def test_norms_of_gradients_are_those_of_the_loss_itself(tiny_config: RunConfig) -> None:
    x = images(0)
    noise = tiny_config.method.draw(tiny_config, 0, x)
    expected = gradient_norms(made(tiny_config), Batch(x), noise)
    found = gradient_norms(in_fp16(tiny_config), Batch(x), noise)
    assert found == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_other_precisions_have_no_scale(
    tiny_points_config: RunConfig, tmp_path: Path, precision: str
) -> None:
    run = ddgan.train(changed(tiny_points_config, precision=precision), tmp_path / "run", verbose=False)
    newest, _ = Checkpoints(run.path / "checkpoints").newest()
    assert newest is not None
    assert "loss_scales" not in newest.metadata
    assert not any("loss_scale" in name for record in read_log(run.path / "log.jsonl") for name in record)


def test_a_run_resumes_with_its_scales(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    """They still settle when it is stopped."""
    config = changed(tiny_points_config, precision="fp16", num_iterations=8, keep_every=1)
    config = config.changed({"method.adversarial": "relativistic"})
    whole = ddgan.train(config, tmp_path / "whole", verbose=False).path
    shutil.copytree(whole, run := tmp_path / "run")
    for step in range(5, 9):
        shutil.rmtree(run / "checkpoints" / f"step-{step:08d}")
    ddgan.resume(run, verbose=False)
    ours, theirs = (read_checkpoint(path / "checkpoints" / "step-00000008") for path in (run, whole))
    assert ours.metadata["loss_scales"] == theirs.metadata["loss_scales"]
    assert ours.metadata["loss_scales"].keys() == {"generator", "discriminator"}
    assert all(torch.equal(ours.tensors[name], value) for name, value in theirs.tensors.items())
    assert untimed(run) == untimed(whole)


def test_processes_change_their_scales_alike(tiny_config: RunConfig) -> None:
    """An overflow in one is in the average of all; here the other's gradients are infinite."""
    state, x = in_fp16(tiny_config), images(0)

    def average_(tensors: list[Tensor]) -> None:
        for tensor in tensors:
            tensor.add_(math.inf).div_(2)

    state.average_ = average_  # type: ignore[assignment]
    noise = tiny_config.method.draw(tiny_config, 0, x)
    assert float(flat(iterate(state, Batch(x), noise))["skipped"]) == 0
    assert {float(scale.factor) for scale in state.loss_scales.values()} == {2.0**7}
    assert Processes(torch.device("cpu")).count == 1
