"""WGAN-GP: what its critic sees, its penalty, and how often G is updated."""

from __future__ import annotations

import pytest
import torch
from test_one_step_gan import Seen, gan_config, inputs, with_discriminator
from torch import Tensor, nn

from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.training.iteration import iterate
from ddgan.training.noise import draw_noise
from steps import fresh, one_update


@pytest.mark.parametrize("num_levels", [1, 4])
def test_a_critic_sees_what_a_discriminator_does_and_points_between(
    tiny_config: RunConfig, num_levels: int
) -> None:
    found = []
    for kind in ("wgan_gp", "one_step_gan"):
        state, seen = fresh(gan_config(tiny_config, num_levels, kind)), Seen()
        with_discriminator(state, seen)
        batch, noise = inputs(state)
        one_update(state, "discriminator", batch.x, noise)
        found.append(seen.seen)
    ours, theirs = found
    for one, other in zip(ours, theirs, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    (real, _, t), (fake, _, _), (between, other, t_between) = ours
    share = ((between - fake) / (real - fake)).flatten(1)
    torch.testing.assert_close(
        share, share.median(dim=1, keepdim=True).values.expand_as(share), atol=1e-2, rtol=0
    )
    assert ((share[:, 0] > 0) & (share[:, 0] < 1)).all()
    assert share[:, 0].unique().numel() == len(share)
    assert torch.equal(t, t_between)
    assert not other.any()


def test_the_penalty_is_zero_for_a_critic_of_slope_one(tiny_points_config: RunConfig) -> None:
    class Plane(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor([0.6, 0.8]))

        def forward(self, x: Tensor, other: Tensor, t: Tensor, condition: object = None) -> Tensor:
            return x @ self.slope

    state = fresh(gan_config(tiny_points_config, 1, "wgan_gp"), (2,))
    with_discriminator(state, Plane())
    points = torch.randn(50, 2)
    statistics, _ = one_update(state, "discriminator", points, draw_noise(0, 0, points, 1, 2))
    torch.testing.assert_close(statistics["penalty"], torch.zeros(50), atol=1e-6, rtol=0)
    difference = statistics["d_fake"] - statistics["d_real"]
    torch.testing.assert_close(statistics["loss_d"], difference, atol=1e-5, rtol=0)


def test_the_critic_has_several_updates_for_one_of_g(tiny_points_config: RunConfig) -> None:
    config = gan_config(tiny_points_config, 1, "wgan_gp", **{"method.critic_updates": 3})
    state, moved = fresh(config, (2,)), []
    for number in range(6):
        points = torch.randn(16, 2)
        before = [p.clone() for p in state.generator.parameters()]
        statistics = iterate(state, Batch(points), draw_noise(0, number, points, 1, 2))
        pairs = zip(before, state.generator.parameters(), strict=True)
        moved.append(any(not torch.equal(a, b) for a, b in pairs))
        assert ("generator" in statistics) == moved[-1]
    assert moved == [False, False, True] * 2
