"""`ddgan export`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan.cli.options import Parser, add_license, add_model, one_of, whole
from ddgan.export import require
from ddgan.export.folder import check_export
from ddgan.export.rounding import PRECISIONS
from ddgan.models.ddgan import DDGAN
from ddgan.models.license import licensed
from ddgan.system.text import one_line

if TYPE_CHECKING:
    from ddgan.export.onnx import Scorer

__all__ = ["run"]

ONNX = ("export", "onnx", "onnxscript", "onnxruntime")
NEEDS = {"diffusers": ("diffusers", "diffusers"), "onnx": ONNX, "web": ONNX}
"""For each target, the extra and the packages that it installs."""
OF_FORMS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "precision": ("float32", ("onnx", "web")),
    "score_samples": (None, ("onnx",)),
    "title": (None, ("web",)),
    "class_names": (None, ("web",)),
}
"""Options that not every form has: their defaults, and the forms that have them."""
SCORING_SECONDS = 1200
"""Scores that are not asked for cost little compared with so many seconds: they take at most a minute."""
ANY_SECONDS = 1e9


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
    add_license(parser)
    parser.add_argument(
        "--precision",
        type=one_of(*PRECISIONS),
        default="float32",
        metavar="NAME",
        help="for --to onnx and web: how the weights are stored: float32, fp16 (half the size) or int8 (a "
        "quarter); the graphs compute in float32 (default: float32)",
    )
    parser.add_argument(
        "--score_samples",
        type=whole(0),
        metavar="N",
        help="for --to onnx: score the model and its export on N samples each; 0: do not (default: with fp16 "
        "and int8, as many as take little time)",
    )
    options = parser.parse_args(arguments)
    if options.to is None or options.out is None:
        raise ValueError("export needs --to diffusers, --to onnx or --to web, and --out FOLDER")
    for name, (default, forms) in OF_FORMS.items():
        if getattr(options, name) != default and options.to not in forms:
            raise ValueError(
                f"--{name} is for --to {' and '.join(forms)}; leave it out with --to {options.to}"
            )
    out = check_export(Path(options.out), options.overwrite)
    require(*NEEDS[options.to])
    model = DDGAN.from_pretrained(options.model, ema=options.ema)
    named: Any = licensed(model, options.license)
    if options.to == "diffusers":
        from ddgan.export.diffusers import export_diffusers

        export_diffusers(named, out)
        print(f"diffusers pipeline in {out}", file=sys.stderr)
    elif options.to == "web":
        from ddgan.export.web import export_web

        names = options.class_names or ()
        export_web(named, out, title=options.title or "", class_names=names, precision=options.precision)
        megabytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
        print(
            f"web page in {out}, {megabytes:.0f} MB; to see it: python -m http.server --directory "
            f"{shlex.quote(str(out))}, then open http://localhost:8000",
            file=sys.stderr,
        )
    else:
        _export_onnx(named, out, options)
    return 0


def _export_onnx(model: DDGAN, out: Path, options: Any) -> None:
    from ddgan.export.onnx import Difference, export_onnx

    count = options.score_samples
    is_scored = options.precision != "float32" if count is None else count > 0
    scorer = _scorer(model, count) if is_scored else None
    record = export_onnx(model, out, precision=options.precision, scorer=scorer)
    megabytes = sum((out / name).stat().st_size for name in record["files"]) / 1e6
    worst = max(record["largest_difference"].values())
    print(
        f"step.onnx and chain.onnx in {out}, {megabytes:.2g} MB, weights in {options.precision}; within "
        f"{worst:.1e} of PyTorch with these weights",
        file=sys.stderr,
    )
    print(f"from the same noise, {Difference(**record['difference'])}", file=sys.stderr)
    for name, value in record.get("scores", {}).get("export", {}).items():
        print(f"{name}: {value:.4g} (model: {record['scores']['model'][name]:.4g})", file=sys.stderr)


def _scorer(model: DDGAN, count: int | None) -> Scorer | None:
    """Return what scores a model and its export: `count` samples, or as many as take little time.

    Without a count, None if nothing can be scored.

    Raises:
        ValueError: if nothing can be scored, with a count.
    """
    from ddgan.metrics.affordable import affordable
    from ddgan.metrics.evaluation import evaluate
    from ddgan.metrics.headline import headline

    try:
        choice = affordable(model, SCORING_SECONDS if count is None else ANY_SECONDS)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if count is not None:
            raise
        print(f"not scored: {one_line(error)}; --score_samples N scores at any cost", file=sys.stderr)
        return None
    n = choice.n if count is None else count
    metrics = tuple(metric for metric in choice.metrics if metric.kind != "memorisation")

    def scores(scored: Any) -> Mapping[str, float]:
        report = evaluate(scored, n=n, metrics=metrics, features=choice.features, progress=True).to_dict()
        found = headline(report)
        used = report["features"]
        by = "" if used is None else f", features {used['name']}"
        return {} if found is None else {f"{found.name}, {n:,} samples{by}": found.value}

    return scores
