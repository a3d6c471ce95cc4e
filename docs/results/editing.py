"""Measure and show edits by a model of stacked digits; the output is in editing.md.

    python docs/results/editing.py RUN docs/results/editing

Half of each held-out digit is masked in all three channels; the classifier reads the inpainted digits.
Compared: the known half pasted over an unconditional sample, and inpainting with 1, 2, 4, ... rounds.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ddgan import DDGAN, editing
from ddgan.data.digits import StackedDigits
from ddgan.metrics.classifier import digits_classifier
from ddgan.system import images

NUM_IMAGES, ROUNDS = 1000, (1, 2, 4, 8, 16)
HALVES = {"right": (0, 4, 8, 8), "left": (0, 0, 8, 4), "bottom": (4, 0, 8, 8), "top": (0, 0, 4, 8)}
ZOOM, GAP = 6, 3


def hole(half: str) -> Tensor:
    """Return the mask (8, 8) in which `half` is unknown."""
    top, left, bottom, right = HALVES[half]
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def measure(model: DDGAN) -> None:
    """Print a table: how many digits are classified correctly, per half and method."""
    batch = StackedDigits(seed=5, split="test").batch(0, NUM_IMAGES)
    known, numbers = batch.x, batch.label
    assert numbers is not None
    digits = torch.stack([numbers // 100, numbers // 10 % 10, numbers % 10], dim=1)

    def read(samples: Tensor) -> float:
        return float((digits_classifier().read(samples)[0] == digits).double().mean())

    print(f"Accuracy on whole digits: {read(known):.1%}\n")
    print(f"| unknown half | pasted | {' | '.join(f'{r} rounds' for r in ROUNDS)} |")
    print("|---|---|" + "---|" * len(ROUNDS))
    for half in HALVES:
        mask = hole(half)
        cells = [read(torch.where(mask, model.sample(NUM_IMAGES, seed=1), known))]
        for rounds in ROUNDS:
            filled = editing.inpaint(model, known, mask, seed=1, rounds=rounds)
            assert torch.equal(filled[..., ~mask], known[..., ~mask])
            cells.append(read(filled))
        print(f"| {half} | {' | '.join(f'{cell:.1%}' for cell in cells)} |")


def measure_strength(model: DDGAN) -> None:
    """Print a table: distances of strokes from their input, and from the plain samples of their seed."""
    known = StackedDigits(seed=5, split="test").batch(0, NUM_IMAGES).x
    samples = model.sample(NUM_IMAGES, seed=1)
    print("\n| strength | from the input | from the sample of the same noise |\n|---|---|---|")
    for strength in range(model.diffusion.num_steps + 1):
        made = editing.stroke(model, known, strength, seed=1)
        print(f"| {strength} | {(made - known).abs().mean():.3f} | {(made - samples).abs().mean():.3f} |")


def tile(sample: np.ndarray) -> np.ndarray:
    """Tile an image (H, W, 3) beside its channels in grey."""
    grey = [np.repeat(sample[..., channel : channel + 1], 3, axis=-1) for channel in range(3)]
    return images.grid(np.stack([sample, *grey]), columns=4, zoom=ZOOM, gap=2)


def show(rows: list[list[Tensor]], path: Path) -> None:
    """Write a picture with each sample (3, H, W) as a tile."""
    tiles = [tile(images.to_uint8(sample[None])[0]) for row in rows for sample in row]
    images.save_png(images.grid(np.stack(tiles), columns=len(rows[0]), gap=4 * GAP), path)


def painted() -> Image.Image:
    """Paint a red 7, a green 1 and a blue 0 with a few thick lines."""
    channels = []
    strokes = {
        "7": [[(20, 12), (44, 12), (28, 54)]],
        "1": [[(24, 20), (34, 10), (34, 54)]],
        "0": [[(22, 16), (42, 16), (42, 48), (22, 48), (22, 16)]],
    }
    for lines in strokes.values():
        channel = Image.new("L", (64, 64))
        for line in lines:
            ImageDraw.Draw(channel).line(line, fill=230, width=9, joint="curve")
        channels.append(channel)
    return Image.merge("RGB", channels)


def show_all(model: DDGAN, folder: Path) -> None:
    """Write a picture of each edit."""
    folder.mkdir(parents=True, exist_ok=True)
    known = StackedDigits(seed=7, split="test").batch(0, 6).x
    mask = hole("right")
    pasted = torch.where(mask, model.sample(6, seed=2), known)
    fillings = [editing.inpaint(model, known, mask, seed=seed) for seed in (2, 3)]
    columns = [torch.where(mask, torch.ones(()), known), pasted, *fillings, known]
    show([list(row) for row in zip(*columns, strict=True)], folder / "inpaint.png")

    picture = painted()
    steps = range(model.diffusion.num_steps + 1)
    strokes = [editing.stroke(model, [picture] * 3, strength, seed=1) for strength in steps]
    show([list(column) for column in strokes], folder / "stroke.png")

    original = known[0]
    show(
        [[original, *editing.variations(model, original, 3, t, seed=4)] for t in (2, 4, 6)],
        folder / "variations.png",
    )
    paths = editing.interpolate(model, 3, (0, 1), 6)
    show([list(frames) for frames in paths.transpose(0, 1)], folder / "interpolate.png")
    strip = editing.filmstrip(model, 3)
    tiles = images.to_uint8(strip.tiles())
    images.save_png(images.grid(tiles, strip.states.shape[1], zoom=8, gap=GAP), folder / "filmstrip.png")


if __name__ == "__main__":
    opened = DDGAN.from_pretrained(sys.argv[1])
    show_all(opened, Path(sys.argv[2]))
    measure(opened)
    measure_strength(opened)
