"""Penalties, transport cost and ramps as parts of the losses, on real networks."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ddgan
from ddgan import Run, RunConfig
from ddgan.config.ramps import Ramp
from ddgan.data.batch import Batch
from ddgan.models.checkpoint_file import read_checkpoint
from ddgan.models.run_folder import read_log
from ddgan.training.iteration import iterate
from ddgan.training.methods.objectives import rows_of
from ddgan.training.noise import draw_noise
from steps import SHAPE, flat, fresh, images, made, one_update


def check_resuming(whole: Run, copy: Path) -> None:
    """A copy of a run that is cut after iteration 3 and resumed ends with the same weights."""
    shutil.copytree(whole.path, copy)
    for path in (copy / "checkpoints").iterdir():
        if path.name > "step-00000003":
            shutil.rmtree(path)
    resumed = ddgan.resume(copy, verbose=False)
    ours, theirs = (one.model.generator.state_dict() for one in (resumed, whole))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def noise_like(config: RunConfig, x: Tensor) -> Any:
    return draw_noise(0, 0, x, config.diffusion.num_steps, config.generator.latent_size)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("group", [0, 1, 2, 4])
def test_d_judges_independent_rows_as_in_the_whole_batch(
    tiny_config: RunConfig, group: int, share: float
) -> None:
    config = tiny_config.changed({"method.discriminators.pair.stddev_group": group})
    discriminator = made(config).discriminators["pair"]
    x, y = torch.randn(2, 16, *SHAPE)
    t = torch.arange(16) % 3 + 1
    rows = rows_of(discriminator, 16, share, x.device)
    assert len(rows) == 16 * share
    assert len(set(rows.tolist())) == len(rows)
    whole, part = discriminator(x, y, t)[rows], discriminator(x[rows], y[rows], t[rows])
    torch.testing.assert_close(part, whole)


def test_groups_of_unequal_size_are_taken_as_a_whole(tiny_config: RunConfig) -> None:
    rows = rows_of(fresh(tiny_config).discriminators["pair"], 7, 0.25, torch.device("cpu"))
    assert rows.tolist() == list(range(7))


def test_the_first_rows_of_any_other_discriminator() -> None:
    assert rows_of(nn.Identity(), 8, 0.25, torch.device("cpu")).tolist() == [0, 1]
    assert rows_of(nn.Identity(), 2, 0.01, torch.device("cpu")).tolist() == [0]


@pytest.mark.parametrize("kind", ["r1", "r2"])
def test_the_mean_over_directions_is_the_exact_penalty(tiny_config: RunConfig, kind: str) -> None:
    """Also its gradient in the last layer; 80 directions leave about a sixth.

    In earlier layers, differences also see the kinks of leaky ReLU, where the exact gradient jumps.
    """
    torch.set_default_dtype(torch.float64)
    try:
        x = images(0)
        exact = tiny_config.changed({"method.penalties": [{"kind": kind, "gamma": 1.0}]})
        close = tiny_config.changed({"method.penalties": [{"kind": kind, "gamma": 1.0, "epsilon": 1e-3}]})
        none = tiny_config.changed({"method.penalties": []})
        noise = noise_like(exact, x)
        whole, wanted = one_update(made(exact), "discriminator", x, noise)
        _, without = one_update(made(none), "discriminator", x, noise)
        values, gradients, name = [], [], "pair.output.weight"
        for seed in range(80):
            other = draw_noise(seed, 1, x, 3, 4)
            noise_of_d = type(noise)(noise.discriminator, other.generator)
            statistics, gradient = one_update(made(close), "discriminator", x, noise_of_d)
            values.append(statistics[kind].mean())
            gradients.append(gradient[name])
        assert float(torch.stack(values).mean()) == pytest.approx(float(whole[kind].mean()), rel=0.3)
        ours = torch.stack(gradients).mean(dim=0) - without[name]
        theirs = wanted[name] - without[name]
        assert float((ours - theirs).norm() / theirs.norm()) < 0.5
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_share_has_the_mean_of_the_whole(tiny_config: RunConfig) -> None:
    """The term is zero elsewhere, and its mean over the batch that of the rows."""
    x = images(0)
    penalty = {"kind": "r1", "gamma": 1.0, "epsilon": 0.01}
    noise = noise_like(tiny_config, x)
    terms = {}
    for share in (1.0, 0.5):
        config = tiny_config.changed({"method.penalties": [penalty | {"share": share}]})
        terms[share] = one_update(made(config), "discriminator", x, noise)[0]["r1"]
    rows = terms[0.5].nonzero().flatten()
    assert len(rows) == 4
    torch.testing.assert_close(terms[0.5][rows], 2 * terms[1.0][rows], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_differences_in_16_bits_are_those_of_float32(tiny_config: RunConfig, precision: str) -> None:
    """Logits of 16 bits would differ by their rounding as much as by the step."""
    x = images(0)
    penalty = {"kind": "r1", "gamma": 1.0, "epsilon": 0.01}
    config = tiny_config.changed({"method.penalties": [penalty]})
    noise = noise_like(config, x)
    terms = [
        one_update(made(config.changed({"training.precision": one})), "discriminator", x, noise)[0]["r1"]
        for one in ("float32", precision)
    ]
    torch.testing.assert_close(terms[1], terms[0], rtol=1e-3, atol=1e-9)


def test_the_transport_cost_in_both_losses(tiny_config: RunConfig) -> None:
    """With softplus(x) as the loss on fakes: D sees its logit less the cost, G too, or pays it in full."""
    softplus, x = nn.functional.softplus, images(0)
    noise = noise_like(tiny_config, x)
    base = tiny_config.changed({"method.penalties": []})
    for form in ("logit", "added"):
        config = base.changed({"method.transport": {"weight": 0.01, "form": form}})
        plain, _ = one_update(made(base), "generator", x, noise)
        ours, gradient = one_update(made(config), "generator", x, noise)
        cost, logit = ours["transport"], -torch.log(torch.expm1(plain["loss_g"]))
        assert (cost > 0).all()
        expected = softplus(-(logit - cost)) if form == "logit" else plain["loss_g"]
        torch.testing.assert_close(ours["loss_g"], expected, rtol=1e-4, atol=1e-5)
        assert any(float(value.abs().sum()) > 0 for value in gradient.values())
        for_d, _ = one_update(made(config), "discriminator", x, noise)
        before, _ = one_update(made(base), "discriminator", x, noise)
        assert (for_d["loss_d"] <= before["loss_d"]).all()  # the cost makes fakes easier to reject


def test_ramps_move_weights_betas_and_rates_and_resume_exactly(
    tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    config = tiny_points_config.changed(
        {
            "method.penalties": [{"kind": "r1", "gamma": {"start": 1.0, "end": 0.1, "shape": "geometric"}}],
            "method.transport": {"weight": {"start": 0.01, "end": 0.0, "share": 0.5}},
            "optimization.discriminator.betas": [0.5, {"start": 0.9, "end": 0.99}],
            "optimization.decay_share": 0.5,
            "optimization.final_lr": 1e-5,
            "training.num_iterations": 8,
            "training.keep_every": 1,
            "training.log_every": 1,
        }
    )
    whole = ddgan.train(config, tmp_path / "whole", verbose=False)
    log = read_log(tmp_path / "whole" / "log.jsonl")
    assert [record["transport"] == 0 for record in log] == [False] * 4 + [True] * 4
    assert log[-1]["lr_g"] == log[3]["lr_g"] == config.optimization.final_lr
    assert log[2]["lr_g"] > log[3]["lr_g"]  # the rate of the next iteration
    check_resuming(whole, tmp_path / "run")


def test_a_ramp_is_one_tensor_that_is_refilled(tiny_config: RunConfig) -> None:
    state, ramp = fresh(tiny_config), Ramp(1.0, 0.0, shape="linear")
    state.num_iterations = 10
    value = state.value(ramp)
    assert isinstance(value, Tensor)
    assert float(value) == 1.0
    state.step = 5
    state.renew_ramps()
    assert float(value) == 0.5
    assert state.value(ramp) is value
    assert state.value(0.25) == 0.25


def test_the_statistics_name_every_term(tiny_config: RunConfig) -> None:
    penalties = [{"kind": kind, "epsilon": 0.01} for kind in ("r1", "r2")] + [{"kind": "centring"}]
    config = tiny_config.changed({"method.penalties": penalties, "method.transport": {}})
    state, x = made(config), images(0)
    found = flat(iterate(state, Batch(x), noise_like(config, x)))
    assert {"r1", "r2", "centring", "transport"} <= found.keys()


def test_an_augmentation_adapts_and_resumes_exactly(tiny_config: RunConfig, tmp_path: Path) -> None:
    config = tiny_config.changed(
        {
            "method.augmentation": {"probability": 0.1, "target": 0.5, "images": 0.1, "color": 0.1},
            "training.num_iterations": 6,
            "training.keep_every": 1,
            "training.log_every": 1,
        }
    )
    whole = ddgan.train(config, tmp_path / "whole", verbose=False)
    log = read_log(tmp_path / "whole" / "log.jsonl")
    steps = [abs(later["augmentation"] - earlier["augmentation"]) for earlier, later in pairwise(log)]
    assert all(step == pytest.approx(0.08) or step < 0.08 for step in steps)  # 8 of 100 images
    assert any(step > 0 for step in steps)
    check_resuming(whole, run := tmp_path / "run")
    assert [record["augmentation"] for record in read_log(run / "log.jsonl")] == [
        record["augmentation"] for record in log
    ]


def test_points_cannot_be_augmented(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    config = tiny_points_config.changed({"method.augmentation": {}})
    with pytest.raises(
        ValueError, match=r"method.augmentation transforms images, but the samples have shape \[2\]"
    ):
        ddgan.train(config, tmp_path / "run", verbose=False)


def test_denoising_first_trains_g_alone_and_then_both(tiny_config: RunConfig, tmp_path: Path) -> None:
    config = tiny_config.changed(
        {
            "method.denoise_first": 3,
            "training.num_iterations": 6,
            "training.log_every": 1,
            "training.keep_every": 1,
            "training.keep_last": 9,
        }
    )
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    log = read_log(run.path / "log.jsonl")
    assert ["loss_d" in record for record in log] == [False] * 3 + [True] * 3
    first, third, last = (
        read_checkpoint(run.path / "checkpoints" / f"step-{step:08d}") for step in (1, 3, 6)
    )
    ours, theirs = first.weights("discriminator"), third.weights("discriminator")
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert any(not torch.equal(ours[name], value) for name, value in last.weights("discriminator").items())
    assert any(
        not torch.equal(value, third.weights("generator")[name])
        for name, value in first.weights("generator").items()
    )


def test_the_denoising_loss_is_the_mean_squared_error(tiny_config: RunConfig) -> None:
    config = tiny_config.changed({"method.denoise_first": 1, "diffusion.num_steps": 3})
    state, x = made(config), images(0)
    noise = noise_like(config, x)
    statistics, gradients = one_update(state, "generator", x, noise)
    own = noise.generator
    _, x_t = state.diffusion.pair(x, own.t, own.noise_prev, own.noise_step)
    with torch.no_grad():
        expected = (made(config).generator(x_t, own.t, own.z, None) - x).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(statistics["reconstruction"], expected)
    assert gradients
    assert state.method.iteration_kind(0) != state.method.iteration_kind(1)


def test_a_time_budget_is_measured_once_both_networks_train(tiny_config: RunConfig, tmp_path: Path) -> None:
    config = tiny_config.changed(
        {"method.denoise_first": 4, "training.max_minutes": 0.02, "training.log_every": 1}
    )
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    log = read_log(run.path / "log.jsonl")
    assert log[-1]["step"] > 5
    assert "loss_d" in log[-1]


def test_steps_are_trained_as_often_as_their_weights_say(tiny_config: RunConfig) -> None:
    num_steps = tiny_config.diffusion.num_steps
    weights = list(range(1, num_steps + 1))
    config = tiny_config.changed({"method.step_weights": weights})
    x = torch.zeros(30_000, 1)
    noise = config.method.draw(config, 0, x)
    for half in (noise.discriminator, noise.generator):
        shares = torch.bincount(half.t, minlength=num_steps + 1)[1:] / len(x)
        expected = torch.tensor(weights) / sum(weights)
        torch.testing.assert_close(shares, expected, atol=4 * (0.25 / len(x)) ** 0.5, rtol=0)


def test_each_step_has_a_weight_or_none_has(tiny_config: RunConfig) -> None:
    with pytest.raises(
        ValueError, match=r"method\.step_weights has 2 weights, but diffusion\.num_steps is \d"
    ):
        tiny_config.changed({"method.step_weights": [1, 2]})
