"""The style of the figures: a colour-blind safe palette and one font size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ddgan.reports.page import COLORS
from ddgan.system import images
from ddgan.system.files import file_made_atomically
from ddgan.system.outputs import MARK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "FONT",
    "GREEN",
    "GREY",
    "ORANGE",
    "RED",
    "channels_sheet",
    "new_figure",
    "plain",
    "save",
    "scatter",
    "sheet",
    "show_image",
    "spread_of",
    "written",
]

BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK, GREY = COLORS
FONT = 10
DPI = 150
STYLE: Any = {"svg.hashsalt": "ddgan", "svg.fonttype": "path", "path.simplify": True}


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure of this size in inches, with automatic layout."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    return figure


def plain(axes: Any, xlabel: str = "", ylabel: str = "", title: str = "") -> Any:
    """Set labels and a faint grid, and remove the box; returns the axes."""
    axes.set_xlabel(xlabel, fontsize=FONT)
    axes.set_ylabel(ylabel, fontsize=FONT)
    if title:
        axes.set_title(title, fontsize=FONT + 1, loc="left")
    axes.tick_params(labelsize=FONT - 1)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def show_image(axes: Any, picture: np.ndarray, title: str = "", side: str = "") -> None:
    """Show a picture uint8 (H, W, C) without ticks, with a title above and a label on the left."""
    axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=FONT)
    if side:
        axes.set_ylabel(side, fontsize=FONT, rotation=0, ha="right", va="center", labelpad=8)


def sheet(batch: Tensor, columns: int, size: int = 64) -> np.ndarray:
    """Tile images (N, C, H, W) in [-1, 1], enlarged without smoothing to about `size` pixels each."""
    pixels = images.to_uint8(batch)
    return images.grid(pixels, columns, images.zoom_for(pixels.shape[1], size), gap=3)


def channels_sheet(batch: Tensor, columns: int, size: int = 48) -> np.ndarray:
    """Tile RGB images, each beside its three channels in grey, where stacked digits are readable."""
    tiles = []
    for image in images.to_uint8(batch):
        zoom = images.zoom_for(len(image), size)
        grey = [np.repeat(image[..., channel : channel + 1], 3, axis=-1) for channel in range(3)]
        tiles.append(images.grid(np.stack([image, *grey]), columns=4, zoom=zoom, gap=2))
    return images.grid(np.stack(tiles), columns, gap=10)


def scatter(axes: Any, points: Tensor, title: str, color: str = BLUE, limit: float = 2.2) -> None:
    """Draw points (N, 2) in a square without ticks."""
    axes.scatter(*points.T.cpu().numpy(), s=3, alpha=0.35, color=color, linewidths=0, rasterized=True)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=FONT)


def save(figure: Figure, folder: Path, name: str = "figure") -> None:
    """Write NAME.png and NAME.svg."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        for form, metadata in (("png", {"Software": MARK}), ("svg", {"Creator": MARK, "Date": None})):
            with file_made_atomically(folder / f"{name}.{form}") as partial:
                figure.savefig(partial, format=form, dpi=DPI, metadata=metadata)


def spread_of(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, minimum and maximum over the seeds."""
    return float(np.mean(values)), float(min(values)), float(max(values))


def written(values: Sequence[float | None], form: str = ".3g") -> str:
    """Format values over the seeds as "mean (minimum..maximum)"; "-" if there are none."""
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    mean, low, high = spread_of(present)
    if f"{low:{form}}" == f"{high:{form}}":
        return f"{mean:{form}}"
    return f"{mean:{form}} ({low:{form}}..{high:{form}})"
