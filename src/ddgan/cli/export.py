"""`ddgan export`."""

from __future__ import annotations

import sys
from pathlib import Path

from ddgan.cli.options import Parser, add_model, one_of
from ddgan.export import require
from ddgan.export.folder import check_export
from ddgan.models.ddgan import DDGAN

__all__ = ["run"]

NEEDS = {"diffusers": ("diffusers", "diffusers"), "onnx": ("export", "onnx", "onnxscript", "onnxruntime")}
"""For each target, the extra and the packages that it installs."""


def run(arguments: list[str]) -> int:
    """Export a model."""
    parser = Parser(
        "export",
        "Export a model, with a model card, into a folder: as a diffusers pipeline, or as ONNX graphs of "
        "one step and of the whole chain, checked against PyTorch.",
    )
    add_model(parser)
    parser.add_argument("--to", type=one_of("diffusers", "onnx"), metavar="FORM", help="diffusers or onnx")
    parser.add_argument("--out", metavar="FOLDER", help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the export in --out")
    options = parser.parse_args(arguments)
    if options.to is None or options.out is None:
        raise ValueError("export needs --to diffusers or --to onnx, and --out FOLDER")
    out = check_export(Path(options.out), options.overwrite)
    require(*NEEDS[options.to])
    model = DDGAN.from_pretrained(options.model, ema=options.ema)
    if options.to == "diffusers":
        from ddgan.export.diffusers import export_diffusers

        export_diffusers(model, out)
        print(f"diffusers pipeline in {out}", file=sys.stderr)
    else:
        from ddgan.export.onnx import export_onnx

        worst = max(export_onnx(model, out)["largest_difference"].values())
        print(f"step.onnx and chain.onnx in {out}, within {worst:.1e} of PyTorch", file=sys.stderr)
    return 0
