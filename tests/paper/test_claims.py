"""What is claimed of measured numbers: true of good ones, false of bad ones, by every experiment."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from ddgan.paper import ablation, cifar10, gaussians, lsun_church256, multimodality, stability, stackedmnist
from ddgan.paper import nearest_images as neighbours
from ddgan.paper.measures import Measured
from ddgan.paper.scoring import Method
from ddgan.paper.specs import image_models
from ddgan.paper.store import ModelSpec


@cache
def models() -> dict[str, ModelSpec]:
    return image_models("cpu")


def variant(name: str, modes: int, kl: float, frechet: float, high_confidence: int | None = None) -> Measured:
    read = {
        "modes": modes,
        "confident_modes": modes if high_confidence is None else high_confidence,
        "kl": kl,
        "kl_floor": 0.1,
    }
    report: dict[str, Any] = {"num_samples": 50, "modes": read | {"num_samples": 50}}
    report["frechet"] = {"value": frechet}
    return Measured(Method(name, models()[name]), [report], [report], None)


GOOD = {
    "ddgan-t4": (1000, 0.05, 10.0),
    "ddgan-t1": (7, 6.0, 300.0),
    "ddgan-no-latent": (990, 0.06, 12.0),
    "ddgan-no-reconstruction": (920, 0.3, 78.0),
    "ddgan-no-latent-no-reconstruction": (900, 0.4, 90.0),
    "gan-augmented": (500, 1.0, 50.0),
    "ddgan-x_prev": (900, 0.3, 80.0),
    "ddgan-noise": (900, 0.3, 20.0),
}
WORSE = {
    "no latent, no fewer modes": ({"ddgan-no-latent": (1000, 0.06, 12.0)}, {0, 1}),
    "no latent, no larger KL": ({"ddgan-no-latent": (990, 0.05, 12.0)}, {0, 1}),
    "no latent, fewer high-confidence modes alone": ({"ddgan-no-latent": (1000, 0.06, 12.0, 500)}, {0}),
    "no latent in the paper's objective": ({"ddgan-no-latent-no-reconstruction": (925, 0.4, 90.0)}, {2, 3}),
    "one step": ({"ddgan-t1": (1000, 0.05, 300.0)}, {4, 5}),
    "augmented": ({"gan-augmented": (500, 1.0, 9.0)}, {6}),
    "direct, though worse than the base": ({"ddgan-x_prev": (900, 0.3, 77.0)}, {7}),
    "noise": ({"ddgan-noise": (900, 0.3, 10.0)}, {8}),
}


def ablation_claims(numbers: dict[str, Any]) -> list[bool]:
    return [claim.holds for claim in ablation.claims([variant(n, *v) for n, v in numbers.items()])]


def test_the_ablation_s_claims_hold_of_good_numbers() -> None:
    assert ablation_claims(GOOD) == [True] * 9


@pytest.mark.parametrize(("change", "places"), WORSE.values(), ids=WORSE)
def test_each_claim_of_the_ablation_can_fail(change: dict[str, Any], places: set[int]) -> None:
    assert ablation_claims(GOOD | change) == [number not in places for number in range(9)]


def points(modes: float, within: float) -> dict[str, list[float]]:
    return {"modes of 25": [25, modes], "within 3 sigma": [within, within], "KL": [0.1, 0.1]}


def test_claims_of_the_gaussians() -> None:
    good = {"GAN": points(11, 0.97), "WGAN-GP": points(25, 0.5), "DDGAN, T = 4": points(25, 0.97)}
    good |= {"DDPM, 500 steps": points(25, 0.95), "DDPM, 100 steps": points(25, 0.6)}
    assert [claim.holds for claim in gaussians.claims(good, 0.99)] == [True] * 4
    bad = {"GAN": points(25, 0.95), "WGAN-GP": points(25, 0.95), "DDGAN, T = 4": points(24, 0.97)}
    bad |= {"DDPM, 500 steps": points(25, 0.601), "DDPM, 100 steps": points(25, 0.6)}
    assert [claim.holds for claim in gaussians.claims(bad, 0.99)] == [False] * 4


def test_claims_of_the_stacked_digits() -> None:
    def reports(*values: tuple[float, float]) -> list[dict[str, Any]]:
        return [{"modes": {"modes": modes, "kl": kl}} for modes, kl in values]

    good = {"DDGAN, T = 4": reports((1000, 0.1), (999, 0.1)), "one-step GAN": reports((900, 0.5))}
    assert [claim.holds for claim in stackedmnist.claims(good)] == [True, True]
    bad = {"DDGAN, T = 4": reports((1000, 0.7), (998, 0.7)), "one-step GAN": reports((900, 0.5))}
    assert [claim.holds for claim in stackedmnist.claims(bad)] == [False, False]


def test_a_published_fid_is_reached_within_a_quarter() -> None:
    for table, published in ((cifar10.TABLE, 3.75), (lsun_church256.TABLE, 5.25)):
        for share, holds in ((0.5, True), (1.24, True), (1.26, False)):
            (claim,) = table.claims([{"frechet": {"value": share * published}}])
            assert claim.holds == holds
            assert str(published) in claim.text


@pytest.mark.parametrize(
    ("lost", "largest", "holds"), [(0, 0.1, True), (3, 0.1, False), (0, 0.3, False), (0, math.nan, False)]
)
def test_training_is_stable_if_no_line_is_lost_and_losses_settle(
    lost: int, largest: float, holds: bool
) -> None:
    assert stability.claims("T = 4", largest, lost)[0].holds == holds


def test_lost_lines_and_movement_are_read_from_the_log() -> None:
    fine = {"skipped": 0.0, "loss_d_by_t": [1.0, 1.0], "loss_g_by_t": [0.7, 0.7]}
    broken = fine | {"loss_g_by_t": [0.7, None]}
    assert stability.lost_lines([fine, broken, fine | {"skipped": 0.02}, fine]) == 2
    lines = np.array([[9.0, 9.0, 1.0, 1.0], [0.0, 0.0, 1.5, 0.5]])  # the first half does not count
    assert stability.movement(lines) == pytest.approx(0.5)
    assert math.isnan(stability.movement(np.array([[1.0, 1.0, np.nan, 1.0]])))


@pytest.mark.parametrize(
    ("first", "last", "holds"), [(0.01, 0.22, True), (0.2, 0.2, False), (0.001, 0.04, False)]
)
def test_several_proposals_are_a_share_of_the_data_s_spread(first: float, last: float, holds: bool) -> None:
    (claim,) = multimodality.claims("ddgan-no-reconstruction", first, last, real=0.5)
    assert claim.holds == holds
    assert "no reconstruction term" in claim.text


@pytest.mark.parametrize(
    ("near", "copies", "holds"), [(0.5, 0.001, True), (0.8, 0.0, False), (0.5, 0.02, False)]
)
def test_copies_are_near_or_the_same(near: float, copies: float, holds: bool) -> None:
    (claim,) = neighbours.claims([0.5, near], [0.0, copies])
    assert claim.holds == holds
