"""`ddgan convert`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from ddgan.cli.options import Parser, number, one_of, whole
from ddgan.interop.conversion import LICENSE, SamplingSettings, describe, save_published, to_model
from ddgan.interop.published_checkpoints import read_checkpoint
from ddgan.models.card import model_card
from ddgan.models.ddgan import DDGAN
from ddgan.models.shipped_models import folder_of
from ddgan.system.files import write_atomically
from ddgan.system.outputs import check_output, record_beside, write_record
from ddgan.system.text import one_line

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Convert a file, or describe it."""
    options = _parser().parse_args(arguments)
    if options.inspect:
        for name, value in _rows(options.file):
            print(f"{one_line(name):<32} {one_line(value)}")
        return 0
    suffix = {"ddgan": ".safetensors", "nvlabs": ".pth"}[options.to]
    if options.out is None:
        raise ValueError(f"convert needs --out X{suffix}, or --inspect")
    out = Path(options.out)
    if out.suffix != suffix:
        raise ValueError(f"out is '{out}'; with --to {options.to} it must end in {suffix}")
    card = [out.with_suffix(".md")] if options.to == "ddgan" else []
    check_output(out, options.overwrite, also=[record_beside(out), *card])
    model = (_to_ddgan if options.to == "ddgan" else _to_nvlabs)(options, out)
    record = {
        "from": options.file,
        "to": options.to,
        "license": model.license,
        "config": model.config.to_dict(),
    }
    write_record(record_beside(out), record)
    print(f"converted to {out}; licence: {one_line(model.license) or 'not stated'}", file=sys.stderr)
    return 0


def _parser() -> Parser:
    parser = Parser(
        "convert",
        "Convert a published checkpoint (netG_*.pth, content.pth) to a model of ddgan, or back. "
        "No code in the file is run.",
    )
    parser.add_argument("file", help="a published checkpoint; with --to nvlabs, a model of ddgan")
    parser.add_argument("--inspect", action="store_true", help="describe the file and stop")
    parser.add_argument(
        "--to",
        type=one_of("ddgan", "nvlabs"),
        default="ddgan",
        metavar="FORM",
        help="ddgan or nvlabs (default: ddgan)",
    )
    parser.add_argument(
        "--out", metavar="X", help="X.safetensors, with a card X.md beside it; X.pth with --to nvlabs"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="a preset or YAML file with T, image size and schedule"
    )
    parser.add_argument("--num_steps", type=whole(1), metavar="N", help="T (default: from the preset)")
    parser.add_argument(
        "--image_size", type=whole(1), metavar="N", help="in pixels (default: from the preset)"
    )
    parser.add_argument(
        "--schedule", type=one_of("vp", "geometric"), metavar="NAME", help="vp or geometric (default: vp)"
    )
    parser.add_argument(
        "--beta_min", type=number, metavar="X", help="beta_min of the schedule (default: 0.1)"
    )
    parser.add_argument("--beta_max", type=number, metavar="X", help="beta_max of the schedule (default: 20)")
    parser.add_argument(
        "--weights",
        type=one_of("ema", "last"),
        default="ema",
        metavar="WHICH",
        help="weights to take from content.pth: ema (default) or last",
    )
    parser.add_argument(
        "--license", metavar="TEXT", default=LICENSE, help="licence of the weights (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    return parser


def _to_ddgan(options: Any, out: Path) -> DDGAN:
    overrides = SamplingSettings(
        **{f.name: getattr(options, f.name) for f in dataclasses.fields(SamplingSettings)}
    )
    checkpoint = read_checkpoint(options.file)
    model = to_model(checkpoint, options.preset, overrides, weights=options.weights, license=options.license)
    if options.license == LICENSE:
        print(
            "assuming the licence of the published weights; use --license to give another",
            file=sys.stderr,
        )
    model.save(out)
    write_atomically(out.with_suffix(".md"), model_card(model, str(out)))
    return model


def _to_nvlabs(options: Any, out: Path) -> DDGAN:
    model = DDGAN.from_pretrained(options.file)
    save_published(model, out)
    return model


def _rows(file: str) -> list[tuple[str, Any]]:
    path = folder_of(file)
    if path.is_dir() or path.suffix == ".safetensors":
        from ddgan.models.card import properties

        model = DDGAN.from_pretrained(path)
        return [
            ("kind", "model of ddgan"),
            *properties(model).items(),
            ("licence", model.license or "not stated"),
        ]
    return list(describe(read_checkpoint(path)))
