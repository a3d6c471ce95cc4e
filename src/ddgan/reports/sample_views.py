"""Views of samples: beside real ones, and step by step for models that denoise in few steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from torch import Tensor

from ddgan.data.sources import open_data
from ddgan.editing import filmstrip
from ddgan.models.ddgan import DDGAN
from ddgan.models.model import Model
from ddgan.reports.page import COLORS, Section, picture, plot
from ddgan.system import images

__all__ = ["NUM_SHOWN", "about_tiles", "sample_sections", "tile"]

NUM_SHOWN = 24
NUM_CHAINS = 6
NUM_POINTS = 5000
EXTENT = 2.2
"""Smallest half-width of the axes of points, which covers most of x_T."""
READABLE = ("digits", "single_digits")
"""Data whose images show numbers that a classifier can read."""
ALONE = (1, 4)
"""Numbers of channels for which the channels are not shown one by one."""
STEPS = "Denoising, step by step"


def sample_sections(model: Model) -> list[Section]:
    """Show samples of any model beside its training data, and for a `DDGAN` the denoising steps."""
    shape = model.sample_shape
    if len(shape) == 3:
        return _image_sections(model)
    if shape in ((1,), (2,)):
        return _point_sections(model)
    return [Section("Samples", Markup("<p>Samples of shape {} are not drawn here.</p>").format(shape))]


def _real(model: Model, count: int) -> Tensor:
    """Return real samples (count, *sample_shape), on the CPU."""
    data, checksum = model.config.data, getattr(model, "data_checksum", "")
    dataset = open_data(data, seed=1, sample_shape=model.sample_shape, checksum=checksum)
    return dataset.batch(0, count).x.cpu()


def _image_sections(model: Model) -> list[Section]:
    data = model.config.data.name
    note = about_tiles(model.sample_shape[0], data)
    sections = [
        Section("Generated images", _tiles(model.sample(NUM_SHOWN), data), note),
        Section("Real images", _tiles(_real(model, NUM_SHOWN), data), note),
    ]
    if isinstance(model, DDGAN):
        sections.append(Section(STEPS, _filmstrip(model), _about_steps(model)))
    return sections


def about_tiles(channels: int, data: str) -> str:
    """Explain the tiles, for a reader of the page."""
    notes = {1: "", 3: "Each image in colour, then its red, green and blue channel in grey.", 4: ""}
    about = notes.get(channels, f"The {channels} channels of each image, in grey.")
    if data in READABLE:
        about += " Below, the number that the classifier reads (a question mark after a digit with p < 0.9)."
    return about.strip()


def _tiles(batch: Tensor, data: str) -> Markup:
    figures = (
        Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(
            picture(tile(image), "an image and its channels"), caption
        )
        for image, caption in zip(images.to_uint8(batch), _readings(batch, data), strict=True)
    )
    css = "tiles single" if batch.shape[1] in ALONE else "tiles"
    return Markup('<div class="{}">{}</div>').format(css, Markup().join(figures))


def tile(image: np.ndarray) -> np.ndarray:
    """Enlarge a grey or RGBA image; show RGB beside its channels in grey, other images as their channels."""
    channels = image.shape[-1]
    if channels in ALONE:
        return images.grid(image[None], zoom=images.zoom_for(len(image)))
    parts = list(image.transpose(2, 0, 1)[..., None])
    if channels == 3:
        parts = [image, *(np.repeat(part, 3, axis=-1) for part in parts)]
    return images.grid(np.stack(parts), min(len(parts), 4), images.zoom_for(len(image)), gap=4)


def _readings(batch: Tensor, data: str) -> list[str]:
    """Return the caption of each image: the number that the classifier reads."""
    if data not in READABLE:
        return [""] * len(batch)
    from ddgan.metrics.classifier import CONFIDENT, digits_classifier

    digits, confidence = digits_classifier().read(batch)
    marks = np.where((confidence >= CONFIDENT).numpy(), "", "?")
    return [
        "".join(f"{digit}{mark}" for digit, mark in zip(*row, strict=True))
        for row in zip(digits.tolist(), marks, strict=True)
    ]


def _about_steps(model: DDGAN) -> Markup:
    return Markup(
        "One sample per row, from noise (left) to image (right). Upper line: the state x<sub>t</sub> for "
        "t = {} down to 0. Lower line: the generator's output for the state above it, its guess at the clean "
        "image."
    ).format(model.nfe)


def _filmstrip(model: DDGAN) -> Markup:
    strip = filmstrip(model, NUM_CHAINS)
    columns = strip.states.shape[1]
    tiles = images.to_uint8(strip.tiles())
    if tiles.shape[-1] not in (1, 3, 4):
        return Markup("<p>Only images with 1, 3 or 4 channels are drawn here.</p>")
    zoom = images.zoom_for(tiles.shape[1])
    rows = (
        images.grid(tiles[first : first + 2 * columns], columns, zoom, gap=3)
        for first in range(0, len(tiles), 2 * columns)
    )
    shown = (picture(row, "states and predictions of one sample", "wide chain") for row in rows)
    return Markup().join(Markup("<p>{}</p>").format(row) for row in shown)


def _point_sections(model: Model) -> list[Section]:
    real = _real(model, NUM_POINTS)
    extent = max(EXTENT, 1.1 * float(real.abs().max()))
    if not isinstance(model, DDGAN):
        pair = [("real", real), ("generated", model.sample(NUM_POINTS))]
        return [_points_section("Real and generated points", pair, extent, 9, 4.6)]
    steps = model.steps(NUM_POINTS)
    states = [(f"$x_{{{step.t}}}$", step.x_t) for step in steps] + [("$x_0$", steps[-1].x_prev)]
    pair = [("real", real), ("generated", states[-1][1])]
    return [
        _points_section("Real and generated points", pair, extent, 9, 4.6),
        _points_section(STEPS, states, extent, 13, 3),
    ]


def _points_section(
    title: str, panels: Sequence[tuple[str, Tensor]], extent: float, width: float, height: float
) -> Section:
    return Section(
        title, plot(_painter(panels, extent), width, height, "points in the plane"), f"{NUM_POINTS:,} each."
    )


def _painter(panels: Sequence[tuple[str, Tensor]], extent: float) -> Callable[[Any], None]:
    """Return a function that draws one panel per entry: points (N, 2) as a scatter, (N, 1) as a histogram."""

    def paint(figure: Any) -> None:
        for place, (title, points) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1)
            axes.set(title=title, xlim=(-extent, extent))
            if points.shape[1] == 1:
                axes.hist(points[:, 0].cpu().numpy(), bins=100, range=(-extent, extent), color=COLORS[0])
                continue
            axes.scatter(*points.T.cpu().numpy(), s=2, alpha=0.4, color=COLORS[0], linewidths=0)
            axes.set(ylim=(-extent, extent), aspect="equal")

    return paint
