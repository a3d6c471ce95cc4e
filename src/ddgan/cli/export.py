"""`ddgan export`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ddgan.cli.options import Parser, add_model, one_of
from ddgan.export import require
from ddgan.export.folder import check_export
from ddgan.models.ddgan import DDGAN

__all__ = ["run"]

ONNX = ("export", "onnx", "onnxscript", "onnxruntime")
NEEDS = {"diffusers": ("diffusers", "diffusers"), "onnx": ONNX, "web": ONNX}
"""For each target, the extra and the packages that it installs."""


def run(arguments: list[str]) -> int:
    """Export a model."""
    parser = Parser(
        "export",
        "Export a model, with a model card, into a folder: as a diffusers pipeline, as ONNX graphs of one "
        "step and of the whole chain, checked against PyTorch, or as a web page that samples in the browser.",
    )
    add_model(parser)
    parser.add_argument("--to", type=one_of(*NEEDS), metavar="FORM", help="diffusers, onnx or web")
    parser.add_argument("--out", metavar="FOLDER", help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the export in --out")
    parser.add_argument("--title", metavar="TEXT", help="for --to web: heading of the page (default: --out)")
    parser.add_argument(
        "--class_names", nargs="+", metavar="NAME", help="for --to web: names of the classes, in order"
    )
    options = parser.parse_args(arguments)
    if options.to is None or options.out is None:
        raise ValueError("export needs --to diffusers, --to onnx or --to web, and --out FOLDER")
    for name in ("title", "class_names"):
        if getattr(options, name) is not None and options.to != "web":
            raise ValueError(f"--{name} is for --to web; leave it out with --to {options.to}")
    out = check_export(Path(options.out), options.overwrite)
    require(*NEEDS[options.to])
    model = DDGAN.from_pretrained(options.model, ema=options.ema)
    if options.to == "diffusers":
        from ddgan.export.diffusers import export_diffusers

        export_diffusers(model, out)
        print(f"diffusers pipeline in {out}", file=sys.stderr)
    elif options.to == "web":
        from ddgan.export.web import export_web

        export_web(model, out, title=options.title or "", class_names=options.class_names or ())
        megabytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
        print(
            f"web page in {out}, {megabytes:.0f} MB; to see it: python -m http.server --directory "
            f"{shlex.quote(str(out))}, then open http://localhost:8000",
            file=sys.stderr,
        )
    else:
        from ddgan.export.onnx import export_onnx

        worst = max(export_onnx(model, out)["largest_difference"].values())
        print(f"step.onnx and chain.onnx in {out}, within {worst:.1e} of PyTorch", file=sys.stderr)
    return 0
