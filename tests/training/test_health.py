"""Signs of trouble in the records, and only there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ddgan.config.components import find
from ddgan.config.optimization import EMAConfig
from ddgan.models.run_folder import read_log
from ddgan.training.health import (
    IDLE,
    SIGNS,
    STATES,
    Health,
    is_idle,
    memorised,
    normal_ranges,
    slow_emas,
)

HEALTHY: dict[str, Any] = {
    "step": 5000,
    "d_real": 0.4,
    "d_fake": -0.3,
    "d_held_out": 0.35,
    "loss_d": 1.2,
    "loss_g": 0.9,
    "skipped": 0.0,
    "variance_fake": 0.17,
    "variance_real": 0.26,
}
SICK: dict[str, dict[str, Any]] = {
    "skipping": {"skipped": 0.02},
    "extreme": {"d_fake": -80.0},
    "won": {"loss_d": 0.01, "loss_g": 6.0},
    "collapsed": {"variance_fake": 0.03},
    "overfitting": {"d_real": 3.0, "d_fake": -3.0, "d_held_out": -2.0},
}


def test_a_healthy_run_is_not_warned_of() -> None:
    health = Health()
    assert all(health.warnings(HEALTHY) == [] for _ in range(20))


@pytest.mark.parametrize("sign", SICK)
def test_each_sign_is_told_once_after_it_has_stayed(sign: str) -> None:
    health = Health(patience=3)
    told = [health.warnings(HEALTHY | SICK[sign]) for _ in range(6)]
    assert told == [[], [], [SIGNS[sign][1]], [], [], []]
    health.warnings(HEALTHY)
    assert [health.warnings(HEALTHY | SICK[sign]) for _ in range(3)][-1] == [SIGNS[sign][1]]


def test_a_single_bad_record_is_no_sign() -> None:
    health = Health()
    for _ in range(5):
        assert health.warnings(HEALTHY | SICK["won"]) == []
        assert health.warnings(HEALTHY) == []


def test_a_young_generator_may_be_grey() -> None:
    health = Health()
    young = HEALTHY | SICK["collapsed"] | {"step": 100}
    assert all(health.warnings(young) == [] for _ in range(5))


GUESSING = 2 * math.log(2)
IDLE_RECORD = HEALTHY | {"loss_d": 1.3863, "d_real": 0.012, "d_fake": 0.006}


def idle(record: dict[str, Any], guessing: float | None = GUESSING) -> bool:
    health = Health(guessing=guessing)
    return [health.warnings(record) for _ in range(4)] == [[], [], [IDLE], []]


def test_a_discriminator_that_learns_nothing_is_told() -> None:
    assert idle(IDLE_RECORD)
    assert idle(IDLE_RECORD | {"loss_d": 1.43})  # worse than guessing
    assert not idle(HEALTHY)
    assert not idle(IDLE_RECORD | {"loss_d": 1.372})
    assert not idle(IDLE_RECORD | {"d_real": 0.05})
    assert not idle(IDLE_RECORD | {"step": 1999})  # it may still begin
    assert not idle(IDLE_RECORD, guessing=None)
    assert not idle(IDLE_RECORD | {"loss_d": None})
    marginal = {"loss_d_marginal": 1.386, "d_real_marginal": 0.0, "d_fake_marginal": 0.0}
    assert idle(HEALTHY | marginal)
    assert not idle(HEALTHY | {"loss_d_by_t": [1.386], "d_real_by_t": [0.0], "d_fake_by_t": [0.0]})


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ({"kind": "denoising_gan"}, GUESSING),
        ({"kind": "denoising_gan", "adversarial": "relativistic"}, math.log(2)),
        ({"kind": "one_step_gan"}, GUESSING),
        ({"kind": "wgan_gp"}, None),  # its unit is the critic's own
        ({"kind": "gaussian_diffusion"}, None),
    ],
)
def test_guessing_costs_what_equal_logits_cost(method: dict[str, Any], loss: float | None) -> None:
    found = find("method", method["kind"])(**{k: v for k, v in method.items() if k != "kind"})
    assert found.guessing_loss() == (loss if loss is None else pytest.approx(loss))


def test_the_recorded_runs_show_it_until_the_discriminator_awakes() -> None:
    """CIFAR-10 with D's rate at 5e-4: at 2 ln 2 until the rate had decayed below 1e-4; then it learns."""
    path = Path(__file__).parents[2] / "docs" / "results" / "gpu" / "cifar10" / "first" / "log.jsonl"
    records = read_log(path)
    health = Health(guessing=GUESSING)
    told = [record["step"] for record in records if IDLE in health.warnings(record)]
    assert told[0] < 3000
    assert not any(is_idle(record, GUESSING) for record in records if record["lr_d"] < 5e-5)


@pytest.mark.parametrize("sign", SICK)
def test_a_state_is_said_in_words(sign: str) -> None:
    assert Health(guessing=GUESSING).state(HEALTHY | SICK[sign]) == STATES[sign]


def test_a_state_is_that_of_the_newest_record() -> None:
    health = Health(guessing=GUESSING)
    assert health.state(HEALTHY) == "balanced"
    assert health.state(HEALTHY | SICK["won"]) == "discriminator winning"
    assert health.state(HEALTHY) == "balanced"
    assert health.state(IDLE_RECORD) == "discriminator idle"
    assert health.state(IDLE_RECORD | {"step": 100}) == "starting"
    assert health.state(HEALTHY | SICK["won"] | SICK["skipping"]) == "updates skipped"  # the gravest
    assert health.state({"step": 5000, "loss_g": 0.1}) == "denoising"
    assert Health().state(IDLE_RECORD) == "balanced"  # the loss of guessing is not known
    assert set(STATES) == {*SIGNS, "idle"}


def test_balanced_training_is_within_the_normal_ranges() -> None:
    normal = normal_ranges(GUESSING)
    for record in (HEALTHY, HEALTHY | {"memorised": memorised(HEALTHY)}):
        assert all(low <= record[name] <= high for name, (low, high) in normal.items() if name in record)
    won = HEALTHY | SICK["won"]
    assert not any(normal[name][0] <= won[name] <= normal[name][1] for name in ("loss_d", "loss_g"))
    assert normal_ranges(None) == {}


def test_missing_numbers_are_no_signs() -> None:
    health = Health()
    for _ in range(5):
        assert health.warnings({"step": 5000, "loss_d": None, "loss_g": None, "skipped": 0.0}) == []


def test_memory_is_a_share_of_the_way_to_the_fakes() -> None:
    record = {"d_real": 2.0, "d_fake": -2.0, "d_held_out": 1.0}
    assert memorised(record) == pytest.approx(0.25)
    assert memorised(record | {"d_fake": 1.9}) is None  # D cannot tell real from fake at all
    assert memorised({"d_real": 2.0, "d_fake": -2.0}) is None


def test_an_ema_that_averages_over_more_than_the_run_is_told_with_one_that_fits() -> None:
    assert slow_emas(EMAConfig(decay=0.9999), 256, 351_000) == []
    assert slow_emas(EMAConfig(decay=0.9999), 256, 6932) == []  # its half-life is 6,931 iterations
    (warning,) = slow_emas(EMAConfig(decay=0.9999), 256, 1000)
    assert warning.startswith(
        "optimization.ema.decay 0.9999 is a half-life of 6,931 iterations, but the run has 1,000"
    )
    assert "; 0.9862 would fit, or optimization.ema.rampup 0.05" in warning
    assert slow_emas(EMAConfig(decay=0.9862), 256, 1000) == []
    assert slow_emas(EMAConfig(decay=0.9999, rampup=0.05), 256, 1000) == []
    assert len(slow_emas(EMAConfig(decay=0.9999, rampup=2.0), 256, 1000)) == 1
    assert slow_emas(EMAConfig(decay=0.0), 256, 1000) == []


def test_an_additional_ema_is_compared_in_images() -> None:
    assert slow_emas(EMAConfig(decay=0.9, half_lives=(50.0, 250.0)), 256, 1000) == []
    (warning,) = slow_emas(EMAConfig(decay=0.9, half_lives=(50.0, 512.0)), 256, 1000)
    assert warning.startswith("optimization.ema.half_lives 512 is a half-life of 2,000 iterations")
    assert "; 13 would fit" in warning  # thousand images, 50 iterations
