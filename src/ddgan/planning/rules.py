"""The rules of a plan: each choice is a pure function of the data, the machine and the time.

Every rule returns what it chooses, and the reason in words for those that a reader of the plan should see.
docs/planning.md lists all of them, and says which rest on a measurement.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from ddgan.config.settings import number
from ddgan.planning.machine import Machine
from ddgan.planning.survey import Survey
from ddgan.planning.work import images_seen

__all__ = [
    "Chosen",
    "batch_size",
    "class_condition",
    "discriminator_augmentation",
    "ema_decay",
    "flips",
    "held_out",
    "image_size",
    "interval",
    "learning_rates",
    "network_width",
    "r1_gamma",
    "reconstruction_weight",
    "uses_subbands",
]

SIZES = (256, 128, 64, 32)
SMALL_SIZES = (16, 8)
"""Only for images that are smaller than 32 pixels."""
ENLARGED = 8 / 7
"""Images may be enlarged by so much: 28 pixels become 32."""
SHARE_OF_SIZE = 0.75
"""So many of the images must have the size."""
ENOUGH = 3_000_000
"""Images seen, below which neither larger images nor wider networks are chosen. Ours of 64 channels drew
recognisable objects after some 5 million images of CIFAR-10 (docs/results/gpu)."""
WIDTHS = (32, 48, 64, 96, 128)
"""Channels at full resolution; 128 is the paper's for CIFAR-10."""
FEW = 10_000
"""Training images below which D is augmented."""
LEAST_PER_CLASS, MOST_CLASSES = 10, 1000
"""Classes are a condition if each has so many images on average, and there are no more of them."""
MOST_HELD_OUT, LEAST_TO_HOLD_OUT = 1000, 50
TEXT = (
    *("digit", "number", "letter", "character", "alphabet", "glyph", "font", "text", "word", "mnist", "svhn"),
    *("symbol", "emoji", "flag", "sign", "logo"),
)
"""Words in the names of classes, or of the data, whose images a mirror changes."""
DECAYS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)
EMA_SHARE = 0.05
"""Half-life of the EMA, as a share of the iterations."""


class Chosen(NamedTuple):
    """A choice, and its reason in words."""

    value: int
    why: str


def uses_subbands(machine: Machine) -> bool:
    """Networks work on sub-bands, at a quarter of the cost, except on a GPU."""
    return machine.device == "cpu"


def image_size(found: Survey, machine: Machine, minutes: float) -> Chosen:
    """Choose height and width: a power of two that the images have, and that the machine has time for.

    The largest of 256, 128, 64 and 32 that three quarters of the images have on their shorter side, and at
    which at least 3 million images are seen with the narrowest networks; else 32. Smaller images: 16 or 8.
    """
    side = found.side(SHARE_OF_SIZE)
    fitting = [size for size in (*SIZES, *SMALL_SIZES) if size <= side * ENLARGED]
    if not fitting:
        return Chosen(min(SMALL_SIZES), f"the images are smaller: {side} px")
    largest = fitting[0]
    for size in fitting:
        seen = images_seen(machine, minutes, size, WIDTHS[0], uses_subbands(machine))
        if seen >= ENOUGH or size == min(largest, SIZES[-1]):
            break
    if size > side:
        return Chosen(size, f"the images are enlarged from {side} px")
    if size == largest:
        return Chosen(size, "the largest power of two that most images have" if size < SIZES[0] else "")
    hours = minutes / 60 * ENOUGH / images_seen(machine, minutes, 2 * size, WIDTHS[0], uses_subbands(machine))
    return Chosen(
        size,
        f"most images have {largest}, but in this time this machine sees too few of them; {2 * size} px "
        f"takes about {float(f'{hours:.2g}'):,.0f} h, or a faster device",
    )


def network_width(machine: Machine, minutes: float, size: int) -> int:
    """Choose the channels of both networks: the most with which 3 million images are seen, at least 32."""
    fitting = [
        width
        for width in WIDTHS
        if images_seen(machine, minutes, size, width, uses_subbands(machine)) >= ENOUGH
    ]
    return max(fitting, default=WIDTHS[0])


def batch_size(machine: Machine, size: int) -> int:
    """Choose the batch: 32 on a CPU; on a GPU 256 at 32 px, half of it at each doubling."""
    return 32 if machine.device == "cpu" else min(8192 // max(size, 32), 256)


def learning_rates(width: int) -> tuple[float, float]:
    """Choose the rates of G and D: those of docs/results/gpu/cifar10.yaml, higher below 64 channels."""
    return (1.6e-4, 1e-4) if width >= 64 else (4e-4, 2e-4)


def r1_gamma(size: int) -> float:
    """Choose R1's weight: 0.02 at 32 px, in proportion to the pixels, as the paper's 0.02 and 1 at 256 px."""
    return float(f"{0.02 * (size / 32) ** 2:.2g}")


def reconstruction_weight(seen: float) -> float:
    """Choose the weight of the reconstruction term: 25 below 3 million images seen, 10 above."""
    return 25.0 if seen < ENOUGH else 10.0


def discriminator_augmentation(count: int) -> bool:
    """Augment D below 10,000 training images, so that it cannot memorise them; 0 stands for no end."""
    return 0 < count < FEW


def flips(found: Survey) -> tuple[bool, str]:
    """Flip images left to right, unless the names of the data or its classes speak of text or symbols.

    These are classes of which half are numbers or single characters, or a name with a word such as digit,
    letter, text, symbol, flag or sign.
    """
    names = [name.lower() for name in found.per_class]
    of_data = re.split(r"[\\/]", found.name.lower().rstrip("\\/"))[-1]
    telling = [name for name in (of_data, *names) if any(word in name for word in TEXT)]
    short = [name for name in names if len(name) == 1 or name.isdigit()]
    telling += short if 2 * len(short) >= len(names) else []
    return (False, f"no flips, as '{telling[0]}' may be text or symbols") if telling else (True, "flips")


def class_condition(found: Survey) -> tuple[bool, str]:
    """Condition on classes if there are 2 to 1,000, with ten images each on average."""
    classes = len(found.per_class)
    if classes < 2:
        return False, "no classes"
    if found.count and found.count < LEAST_PER_CLASS * classes:
        return False, f"{number(classes)} classes are ignored: too few images of each"
    if classes > MOST_CLASSES:
        return False, f"{number(classes)} classes are ignored: too many"
    return True, f"{classes} classes, as a condition"


def held_out(count: int) -> int:
    """Hold out a tenth of the images, at most 1,000, so that memorisation shows; none of fewer than 50."""
    return min(count // 10, MOST_HELD_OUT) if count >= LEAST_TO_HOLD_OUT else 0


def ema_decay(iterations: float) -> float:
    """Choose the decay of the EMA, of a few usual ones: its half-life is 5 % of the iterations."""
    wanted = 0.5 ** (1 / max(EMA_SHARE * iterations, 1))
    return min(DECAYS, key=lambda decay: abs(math.log((1 - decay) / (1 - wanted))))


def interval(iterations: float, times: int) -> int:
    """Return the iterations between actions that happen about so often: 1, 2 or 5 times a power of ten."""
    wanted = max(iterations / times, 1)
    power = 10 ** math.floor(math.log10(wanted))
    return int(max((step for step in (1, 2, 5) if step * power <= wanted), default=1) * power)
