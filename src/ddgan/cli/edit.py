"""`ddgan edit`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddgan import editing
from ddgan.cli.options import Parser, model_parser, open_ddgan, whole
from ddgan.editing.inputs import read_images
from ddgan.models.ddgan import DDGAN
from ddgan.models.sample_files import Samples, as_array, check_form, check_pictures, write_arrays
from ddgan.models.sampling_memory import check_room
from ddgan.system.images import finite
from ddgan.system.memory import check_allocation
from ddgan.system.progress import progress_bar

__all__ = ["run", "usage"]

Made = tuple[Tensor, int | None]
MOST_ROUNDS, MOST_FRAMES = 10_000, 100_000
"""Upper bounds of options."""
OWN = ("model", "seed", "device", "overwrite", "out")
"""Options that the record does not list under `options`."""


@dataclass(frozen=True)
class Edit:
    """One edit on the command line.

    Attributes:
        about: description for --help.
        options: adds the options of the edit to a parser.
        make: (model, options, on_batch) -> images (B, *sample_shape) and the columns of their grid.
    """

    about: str
    options: Callable[[Parser], None]
    make: Callable[[DDGAN, Any, Callable[[int], None]], Made]


def run(arguments: list[str]) -> int:
    """Edit images, and write them with a record of the edit."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    model_name, *rest = arguments
    if not rest or rest[0] not in EDITS:
        given = f"unknown edit '{rest[0]}'" if rest else f"'{model_name}' is given, but no edit"
        raise ValueError(f"{given}; write ddgan edit MODEL EDIT, EDIT one of {', '.join(EDITS)}")
    name, edit = rest[0], EDITS[rest[0]]
    parser = model_parser(f"edit MODEL {name}", edit.about)
    parser.add_argument(
        "--out", metavar="X", help="X.png: one grid; X.npz: array 'images' or 'points'; else a folder"
    )
    parser.add_argument(
        "--class", type=whole(0), metavar="N", help="the class of all images, for class-conditional models"
    )
    parser.add_argument(
        "--batch_size", type=whole(1), metavar="N", help="images at a time (default: as memory allows)"
    )
    edit.options(parser)
    options = parser.parse_args([model_name, *rest[1:]])
    if options.out is None:
        raise ValueError(f"edit {name} needs --out X.png, X.npz or a folder")
    out = check_pictures(Path(options.out), options.overwrite)
    model, count = open_ddgan(options, "ddgan edit"), _count(options)
    check_form(model, out)
    check_room(count, model.sample_shape, out)
    check_allocation(
        4 * count * math.prod(model.sample_shape),
        f"{count:,} images are requested, which",
        "request fewer",
        torch.device("cpu"),
    )
    start = time.perf_counter()
    with progress_bar(name, count) as advance:
        results, columns = edit.make(model, options, advance)
    record = {
        "edit": name,
        "model": options.model,
        "seed": options.seed,
        "options": {key: value for key, value in vars(options).items() if key not in OWN},
        "n": len(results),
        "num_steps": model.diffusion.num_steps,
        "seconds": time.perf_counter() - start,
        "config": model.config.to_dict(),
    }
    write_arrays(Samples.of(as_array(finite(results))), out, columns, record)
    print(f"{len(results)} images in {out}", file=sys.stderr)
    return 0


def usage() -> str:
    """Return the text of `ddgan edit --help`."""
    edits = "\n".join(f"  {name:<12} {edit.about}" for name, edit in EDITS.items())
    return (
        f"usage: ddgan edit MODEL EDIT --out X ...\n\n{edits}\n\n"
        "'ddgan edit MODEL EDIT --help' lists the options of an edit."
    )


def _common(options: Any, on_batch: Callable[[int], None]) -> dict[str, Any]:
    return {
        "seed": options.seed,
        "classes": vars(options)["class"],
        "batch_size": options.batch_size,
        "on_batch": on_batch,
    }


def _count(options: Any) -> int:
    """Number of images that will be made."""
    given = vars(options)
    return int(options.n) * len(given.get("image") or [None]) * (given.get("frames") or 1)


def _image_options(parser: Parser) -> None:
    parser.add_argument(
        "--image", nargs="+", metavar="FILE", help="image files of any size; cropped to a square and scaled"
    )
    parser.add_argument("-n", type=whole(1), default=1, metavar="N", help="results per image (default: 1)")


def _strength_option(parser: Parser, default: str) -> None:
    parser.add_argument(
        "--strength", type=whole(0), metavar="t", help=f"t in 0..T: the noise step to start from ({default})"
    )


def _repeated_images(model: DDGAN, options: Any) -> Tensor:
    if options.image is None:
        raise ValueError("this edit needs --image FILE, one or more")
    return editing.repeated(read_images(model, options.image), options.n)


def _stroke_options(parser: Parser) -> None:
    _image_options(parser)
    _strength_option(parser, "required")


def _stroke(model: DDGAN, options: Any, on_batch: Callable[[int], None]) -> Made:
    if options.strength is None:
        raise ValueError(f"edit stroke needs --strength t, in 0..{model.diffusion.num_steps}")
    return _variations(model, options, on_batch)


def _variation_options(parser: Parser) -> None:
    _image_options(parser)
    parser.set_defaults(n=8)
    _strength_option(parser, "default: half of T")


def _variations(model: DDGAN, options: Any, on_batch: Callable[[int], None]) -> Made:
    images = _repeated_images(model, options)
    strength = editing.half_strength(model) if options.strength is None else options.strength
    return editing.stroke(model, images, strength, **_common(options, on_batch)), _columns(options)


def _inpaint_options(parser: Parser) -> None:
    _image_options(parser)
    parser.add_argument(
        "--mask", metavar="FILE", help="image file of the images' size, white where pixels are to be filled"
    )
    parser.add_argument(
        "--rounds",
        type=whole(1, MOST_ROUNDS),
        metavar="N",
        default=editing.DEFAULT_ROUNDS,
        help=f"repetitions of each step (default: {editing.DEFAULT_ROUNDS})",
    )


def _inpaint(model: DDGAN, options: Any, on_batch: Callable[[int], None]) -> Made:
    if options.mask is None:
        raise ValueError("edit inpaint needs --mask FILE, white where pixels are to be filled")
    images = _repeated_images(model, options)
    masks = [editing.read_mask(model, options.mask, image) for image in options.image]
    mask = editing.repeated(torch.stack(masks)[:, None], options.n)
    return editing.inpaint(
        model, images, mask, rounds=options.rounds, **_common(options, on_batch)
    ), _columns(options)


def _interpolate_options(parser: Parser) -> None:
    parser.add_argument("-n", type=whole(1), default=4, metavar="N", help="paths (default: 4)")
    parser.add_argument(
        "--to_seed", type=whole(0), metavar="N", help="seed at the end of the paths (default: --seed plus 1)"
    )
    parser.add_argument(
        "--frames",
        type=whole(2, MOST_FRAMES),
        default=8,
        metavar="N",
        help="images per path, with its ends (default: 8)",
    )


def _interpolate(model: DDGAN, options: Any, on_batch: Callable[[int], None]) -> Made:
    common = _common(options, on_batch)
    start = common.pop("seed")
    end = start + 1 if options.to_seed is None else options.to_seed
    paths = editing.interpolate(model, options.n, (start, end), options.frames, **common)
    return paths.flatten(0, 1), options.frames


def _filmstrip_options(parser: Parser) -> None:
    parser.add_argument("-n", type=whole(1), default=6, metavar="N", help="samples (default: 6)")


def _filmstrip(model: DDGAN, options: Any, on_batch: Callable[[int], None]) -> Made:
    strip = editing.filmstrip(model, options.n, options.seed, classes=vars(options)["class"])
    tiles = strip.tiles() if len(model.sample_shape) == 3 else strip.states.flatten(0, 1)
    return tiles, strip.states.shape[1]


def _columns(options: Any) -> int | None:
    """One row per image if each has several results, else None: as square as possible."""
    return options.n if options.n > 1 and len(options.image) > 1 else None


EDITS = {
    "stroke": Edit("turn painted strokes into realistic images", _stroke_options, _stroke),
    "inpaint": Edit("fill the masked part of images", _inpaint_options, _inpaint),
    "variations": Edit("generate images similar to a given one", _variation_options, _variations),
    "interpolate": Edit("interpolate between the samples of two seeds", _interpolate_options, _interpolate),
    "filmstrip": Edit(
        "show samples at every step: the states and, for images, the generator's predictions below",
        _filmstrip_options,
        _filmstrip,
    ),
}
