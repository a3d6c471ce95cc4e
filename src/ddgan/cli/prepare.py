"""`ddgan prepare`."""

from __future__ import annotations

import sys
from pathlib import Path

from ddgan.cli.options import Parser, settings_from, whole
from ddgan.data.decode import Preparation
from ddgan.data.inspection import check_dataset, contact_sheet
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import FORMS
from ddgan.system.outputs import check_output
from ddgan.system.text import one_line, printable

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Prepare a dataset, or report on one."""
    parser = Parser(
        "prepare",
        f"Decode images once, for training. They may be {FORMS}. Subfolders are classes, unless "
        "dataset.json (StyleGAN, EDM) or metadata.csv, .jsonl or .parquet has labels; folders named "
        "train, test, val and the like are splits. PNG, JPEG, WebP, BMP, TIFF, GIF and PPM are read, of "
        "several frames the first. EXIF orientation is applied; palettes are expanded; 16-bit values are "
        "scaled to 8 bits, from --range if it is given; transparent pixels become white unless --channels "
        "4 is given; grey with alpha becomes RGBA; grey is repeated to RGB, colour is converted to grey "
        "by luminance. CMYK, floating-point pixels without --range, files above 256 MiB and images above "
        "100 million pixels are refused. Notes say what was not read, and what was cropped.",
    )
    parser.add_argument("source", help="the images; with --check, also a prepared dataset")
    parser.add_argument(
        "--out", metavar="FOLDER", help="the folder to make (default: one in the cache, DDGAN_CACHE)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset in --out")
    parser.add_argument(
        "--workers", type=whole(0), default=0, metavar="N", help="threads; 0: one per core (default: 0)"
    )
    parser.add_argument("--skip-bad", action="store_true", help="skip and list images that cannot be used")
    parser.add_argument("--check", action="store_true", help="report on the images instead of preparing them")
    parser.add_argument("--sheet", metavar="X.png", help="with --check: write a contact sheet")
    parser.add_settings(Preparation)
    parser.add_settings(Selection)
    values = parser.parse_args(arguments)
    if values.out == "":
        raise ValueError("--out is empty; name the folder to make")
    options = settings_from(values, Preparation)
    selection = settings_from(values, Selection)
    if values.check:
        if values.out is not None or options != Preparation() or selection.hold_out:
            raise ValueError("--check does not change images; leave out --out and the preparation options")
        sheet = None if values.sheet is None else check_output(Path(values.sheet), values.overwrite)
        if sheet is not None and sheet.suffix != ".png":
            raise ValueError(f"sheet is '{sheet}'; it must be X.png")
        report = check_dataset(values.source, selection, progress=True)
        for name, value in report.table():
            print(f"{printable(name):<24} {one_line(value)}")
        if sheet is not None:
            contact_sheet(report, sheet)
        return 0
    if values.sheet is not None:
        raise ValueError("--sheet needs --check; add it or leave out --sheet")
    path = prepare(
        values.source,
        values.out,
        options,
        selection,
        workers=values.workers,
        skip_bad=values.skip_bad,
        overwrite=values.overwrite,
        progress=True,
    )
    dataset = ImageDataset(path)
    info = dataset.info
    count, channels, height, width = info["shape"]
    classes = f", {info['num_classes']} classes" if info["num_classes"] else ""
    what = f"{count:,} {'image' if count == 1 else 'images'} of {height} x {width}"
    with_channels = f"{channels} {'channel' if channels == 1 else 'channels'}"
    held_out = f", {info['num_held_out']:,} held out" if info.get("num_held_out") else ""
    print(f"{what} with {with_channels}{classes}{held_out}", file=sys.stderr)
    for note in dataset.notes:
        print(f"note: {one_line(note)}", file=sys.stderr)
    for bad in info["skipped"][1:]:  # a note names the first
        print(f"skipped '{one_line(bad['name'])}': {one_line(bad['problem'])}", file=sys.stderr)
    print(path)
    return 0
