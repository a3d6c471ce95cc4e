"""`ddgan sample`."""

from __future__ import annotations

import sys
from pathlib import Path

from ddgan.cli.options import add_chain, model_parser, one_of, open_model, whole
from ddgan.models.precision import repays_compiling
from ddgan.models.sample_files import check_pictures, save_samples
from ddgan.models.sample_store import unfinished
from ddgan.models.sampling_memory import check_room

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Sample to files."""
    parser = model_parser(
        "sample", "Generate images with a trained model; image i depends only on (seed, i)."
    )
    parser.add_argument("-n", type=whole(1), default=64, metavar="N", help="number of images (default: 64)")
    parser.add_argument(
        "--out",
        metavar="X",
        help="X.png: one grid; X.npz: uint8 array 'images' (n, H, W, C); else a folder of PNG files",
    )
    parser.add_argument(
        "--batch_size", type=whole(1), metavar="N", help="images at a time (default: as memory allows)"
    )
    parser.add_argument(
        "--class",
        type=whole(0),
        metavar="N",
        help="the number of the class of all images, from 0; the number of classes means no class "
        "(default: image i has class i modulo the number of classes)",
    )
    text = "compile the generator first, which takes minutes: yes, no, or auto: on a GPU, for many images"
    parser.add_argument(
        "--compile",
        type=one_of("auto", "yes", "no"),
        default="auto",
        metavar="WHEN",
        help=f"{text} (default: auto)",
    )
    add_chain(parser)
    options = parser.parse_args(arguments)
    if options.out is None:
        raise ValueError("sample needs --out X.png, X.npz or a folder")
    out = check_pictures(Path(options.out), options.overwrite)
    model = open_model(options)
    check_room(options.n, model.sample_shape, out, stored=True)
    calls = len(model.split(options.n, options.batch_size)) * model.nfe
    if repays_compiling(options.compile, model.device, calls):
        model.compile()
    try:
        record = save_samples(
            model,
            options.n,
            options.seed,
            out,
            options.batch_size,
            classes=vars(options)["class"],
            progress=True,
            on_continue=lambda done: print(f"continuing after {done:,} samples", file=sys.stderr),
        )
    except (KeyboardInterrupt, OSError):
        if unfinished(out).is_dir():
            print(
                f"the samples so far are kept in '{unfinished(out)}'; the same command continues",
                file=sys.stderr,
            )
        raise
    print(f"{options.n} samples in {out} ({record['images_per_second']:.0f} images/s)", file=sys.stderr)
    return 0
