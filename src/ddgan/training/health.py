"""The health of a run, judged from its log records, and of its EMAs, judged from the settings.

In healthy adversarial training D tells real from fake a little better than chance, G's images vary as much as
real ones, and D rates held-out images like its training images. Signs of trouble:

- skipped updates, because a gradient was not finite;
- logits or losses far outside the range of balanced training, most often from too high a learning rate;
- D has won: it is nearly always right, so G gets little gradient;
- D is idle: long after the start its loss is that of guessing, so G learns from the other terms alone;
- G has collapsed: its predictions of x_0 hardly differ, over all t together (at t = T alone they may be
  almost equal in a healthy run, where the posterior's noise makes the difference);
- overfitting: D's logit on held-out real images falls from that of training images towards that of fakes.

`Health.state` says in words which of them the newest record shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ddgan.config.optimization import EMAConfig

__all__ = ["Health", "memorised", "normal_ranges", "slow_emas"]

PATIENCE = 3
"""Consecutive records that must show a sign before it is reported."""
LARGEST_LOGIT = 50.0
WON_LOSS, LOST_LOSS = 0.05, 4.0
SMALLEST_SPREAD = 0.2
LARGEST_MEMORY = 0.5
IDLE_GRACE = 2000
"""Iterations before D is expected to tell real from fake, once G has left its start."""
IDLE_LOSS, IDLE_MARGIN = 0.01, 0.03
"""D is idle if its loss is less than this below that of guessing, and its mean logits differ by less."""
GRACE = 1000
"""Iterations before G's images are expected to vary; those of an untrained generator are all grey."""
FITTING_SHARE = 0.05
"""Half-life of an EMA that fits a run, as a share of its iterations."""
LEAST_MARGIN = 0.5
"""Overfitting is only measured if D's mean logits on real and fake differ by at least this."""

Record = dict[str, Any]


def is_skipping(record: Record) -> bool:
    """Whether updates were skipped."""
    return (record.get("skipped") or 0) > 0


def is_extreme(record: Record) -> bool:
    """Whether logits or losses are far too large."""
    values = [record.get(name) for name in ("d_real", "d_fake", "loss_d", "loss_g")]
    return any(value is not None and abs(value) > LARGEST_LOGIT for value in values)


def has_d_won(record: Record) -> bool:
    """Whether D is nearly always right."""
    loss_d, loss_g = record.get("loss_d"), record.get("loss_g")
    return loss_d is not None and loss_g is not None and loss_d < WON_LOSS and loss_g > LOST_LOSS


def has_g_collapsed(record: Record) -> bool:
    """Whether G's predictions vary far less than real images."""
    fake, real = record.get("variance_fake"), record.get("variance_real")
    if fake is None or real is None or record["step"] < GRACE:
        return False
    return bool(fake < SMALLEST_SPREAD * real)


def is_overfitting(record: Record) -> bool:
    """Whether D has memorised its training images."""
    memory = memorised(record)
    return memory is not None and memory > LARGEST_MEMORY


def memorised(record: Record) -> float | None:
    """How far D's logit on held-out images has fallen from training images' (0) to fakes' (1)."""
    real, fake, held_out = (record.get(name) for name in ("d_real", "d_fake", "d_held_out"))
    if real is None or fake is None or held_out is None or real - fake < LEAST_MARGIN:
        return None
    return float((real - held_out) / (real - fake))


def is_idle(record: Record, guessing: float) -> bool:
    """Whether a D learns nothing long after the start, see `is_guessing`."""
    return record["step"] >= IDLE_GRACE and is_guessing(record, guessing)


def is_guessing(record: Record, guessing: float) -> bool:
    """Whether a D guesses; `guessing` is the loss of a D that cannot tell real from fake."""
    for name, loss in record.items():
        if not name.startswith("loss_d") or name.endswith("_by_t"):
            continue
        role = name.removeprefix("loss_d")
        real, fake = record.get(f"d_real{role}"), record.get(f"d_fake{role}")
        if loss is None or real is None or fake is None:
            continue
        if guessing - loss < IDLE_LOSS and abs(real - fake) < IDLE_MARGIN:
            return True
    return False


SIGNS: dict[str, tuple[Callable[[Record], bool], str]] = {
    "skipping": (
        is_skipping,
        "updates are being skipped because a gradient is not finite; if this persists, lower the learning "
        "rates, or use --training.precision float32",
    ),
    "extreme": (
        is_extreme,
        "the losses are far too large: training is diverging; lower optimization.generator.lr and "
        "optimization.discriminator.lr (tenfold, say)",
    ),
    "won": (
        has_d_won,
        "D is nearly always right, so G learns little; lower optimization.discriminator.lr or raise the "
        "penalties' gamma",
    ),
    "collapsed": (
        has_g_collapsed,
        "G has collapsed: its images are nearly the same; lower the learning rates or raise the "
        "penalties' gamma",
    ),
    "overfitting": (
        is_overfitting,
        "D has memorised its training images (held-out ones look fake to it); use more images, flips, a "
        "smaller discriminator or fewer iterations",
    ),
}


STATES = {
    "skipping": "updates skipped",
    "extreme": "diverging",
    "collapsed": "generator collapsed",
    "won": "discriminator winning",
    "idle": "discriminator idle",
    "overfitting": "overfitting",
}
"""What a sign is called in one or two words, the gravest first."""
BALANCED, DENOISING, STARTING = "balanced", "denoising", "starting"


IDLE = (
    "D learns nothing: it cannot tell real from fake, and its loss stays at that of guessing; lower "
    "optimization.discriminator.lr (tenfold, say)"
)


class Health:
    """Watches the records of a run; warns once per episode.

    Args:
        patience: consecutive records that must show a sign.
        guessing: the loss of a D that cannot tell real from fake, see `Method.guessing_loss`.
    """

    def __init__(self, patience: int = PATIENCE, guessing: float | None = None) -> None:
        self._patience, self._guessing = patience, guessing
        self._signs = dict(SIGNS)
        if guessing is not None:
            self._signs["idle"] = (partial(is_idle, guessing=guessing), IDLE)
        self._seen = dict.fromkeys(self._signs, 0)

    def state(self, record: Record) -> str:
        """Return in words what a record shows.

        "balanced" if it shows no sign, "starting" while D does not yet tell real from fake, and "denoising"
        if no D is trained.
        """
        for name, words in STATES.items():
            if name in self._signs and self._signs[name][0](record):
                return words
        if record.get("loss_d") is None:
            return DENOISING
        is_young = self._guessing is not None and is_guessing(record, self._guessing)
        return STARTING if is_young else BALANCED

    def warnings(self, record: Record) -> list[str]:
        """Return the warnings that begin with this record."""
        found = []
        for name, (shows, words) in self._signs.items():
            self._seen[name] = self._seen[name] + 1 if shows(record) else 0
            if self._seen[name] == self._patience:
                found.append(words)
        return found


def normal_ranges(guessing: float | None) -> dict[str, tuple[float, float]]:
    """Return the range of balanced training for entries of a record, as far as one is known.

    Args:
        guessing: the loss of a D that cannot tell real from fake, see `Method.guessing_loss`; None if there
            is no such loss, and then no range.
    """
    if guessing is None:
        return {}
    return {"loss_d": (WON_LOSS, guessing), "loss_g": (0.0, LOST_LOSS), "memorised": (0.0, LARGEST_MEMORY)}


def slow_emas(ema: EMAConfig, batch_size: int, num_iterations: int) -> list[str]:
    """Warn of each EMA whose half-life at the end of a run exceeds the run: it still holds early weights."""
    found = []
    names = ("optimization.ema.decay", *(f"optimization.ema.half_lives {h:g}" for h in ema.half_lives))
    fitting = max(FITTING_SHARE * num_iterations, 1)
    decays = ema.decays(batch_size, num_iterations - 1)[: len(names)]  # those of `lengths` fit every run
    for index, (name, decay) in enumerate(zip(names, decays, strict=True)):
        half_life = math.log(0.5) / math.log(decay) if decay > 0 else 0.0
        if half_life <= num_iterations:
            continue
        value = f" {ema.decay:g}" if index == 0 else ""
        fits = f"{0.5 ** (1 / fitting):.4g}" if index == 0 else f"{fitting * batch_size / 1000:.2g}"
        found.append(
            f"{name}{value} is a half-life of {half_life:,.0f} iterations, but the run has "
            f"{num_iterations:,}, so the EMA mostly holds weights of its start; {fits} would fit, or "
            f"optimization.ema.rampup {FITTING_SHARE:g}"
        )
    return found
