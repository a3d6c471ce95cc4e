"""The `ddgan` command: parsing and printing only."""

from __future__ import annotations

import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

INTERRUPTED = 130
BAD_INPUT = 2

USAGE = """usage: ddgan VERB ...

  prepare    make a dataset of images ready for training, or check one
  train      train a model, sample it and score it
  sample     make images with a trained model
  evaluate   score a trained model

'ddgan VERB --help' lists the options of a verb."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else BAD_INPUT
    verb, *rest = arguments
    if verb == "--version":
        from ddgan import __version__

        print(__version__)
        return 0
    if verb not in VERBS:
        return _refuse(f"'{verb}' is no verb; choose from {', '.join(VERBS)}")
    try:
        return VERBS[verb](rest)
    except (ValueError, ArgumentError) as error:
        from ddgan.config import one_line

        return _refuse(one_line(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _refuse(message: str) -> int:
    print(f"ddgan: {message}", file=sys.stderr)
    return BAD_INPUT


def _train(arguments: list[str]) -> int:
    from ddgan.config import config_parser, parse_settings
    from ddgan.training.run import train

    settings = _base_settings(arguments)
    parser = config_parser(
        settings,
        prog="ddgan train",
        description="Train a denoising diffusion GAN, then sample and score it. A setting of the preset or "
        "configuration file is overridden by its dotted name, as in --training.batch_size 32.",
    )
    parser.add_argument("--preset", help="settings by name; 'ddgan train --help --preset NAME' shows them")
    parser.add_argument("--config", help="settings from a YAML file (copy a preset, edit it)")
    parser.add_argument("--out", help="the run folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in --out")
    parser.add_argument("--print_config", action="store_true", help="print all settings as YAML and stop")
    own: dict[str, Any] = {}

    def parse(parser: Any) -> Any:
        parser.set_defaults(_flat(settings))
        parsed = parser.parse_args(arguments)
        own.update({name: parsed[name] for name in ("out", "overwrite", "print_config")})
        return parsed

    config = parse_settings(parser, parse)
    if own["print_config"]:
        print(config.to_yaml(), end="")
        return 0
    if own["out"] is None:
        raise ValueError("train needs --out RUN, the folder to make")
    run = train(config, own["out"], overwrite=own["overwrite"])
    return INTERRUPTED if run.interrupted else 0


def _base_settings(arguments: list[str]) -> dict[str, Any]:
    """The preset's or file's settings, with the kinds of network that dotted options choose."""
    from ddgan.config import KINDS, RunConfig, read_settings

    chosen = {name: _peek(arguments, f"--{name}") for name in ("preset", "config")}
    if chosen["preset"] is not None and chosen["config"] is not None:
        raise ValueError("--preset and --config were both given; name one")
    source = chosen["preset"] if chosen["preset"] is not None else chosen["config"]
    helping = "-h" in arguments or "--help" in arguments
    if source is None:
        if not helping:
            from ddgan.config import preset_names

            presets = ", ".join(preset_names())
            raise ValueError(f"train needs --preset NAME ({presets}) or --config FILE.yaml")
        return {}
    settings = read_settings(source)
    for section in KINDS:
        kind = _peek(arguments, f"--{section}.kind")
        if kind is not None and kind != settings.get(section, {}).get("kind", next(iter(KINDS[section]))):
            settings[section] = {"kind": kind}
    if chosen["config"] is not None or not helping:
        settings = RunConfig.from_dict(settings).to_dict()
    return settings


def _peek(arguments: list[str], option: str) -> str | None:
    """The value of an option, before the parser that knows it is built."""
    value = None
    for index, argument in enumerate(arguments):
        if argument.startswith(option + "="):
            value = argument[len(option) + 1 :]
        elif argument == option and index + 1 < len(arguments):
            value = arguments[index + 1]
    return value


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _verb_parser(verb: str, description: str) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=f"ddgan {verb}", description=description, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("model", help="a run folder or a .safetensors file")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    return parser


def _open(options: Any) -> Any:
    from ddgan.model import DDGAN
    from ddgan.training.setup import choose_device

    if options.seed < 0:
        raise ValueError(f"--seed is {options.seed}; it must be 0 or more")
    return DDGAN.from_pretrained(options.model, device=choose_device(options.device))


def _sample(arguments: list[str]) -> int:
    from ddgan.saving import check_output, save_samples

    parser = _verb_parser("sample", "Make images with a trained model; image i depends on (seed, i) alone.")
    parser.add_argument("-n", type=int, default=64, help="how many images (default: 64)")
    parser.add_argument(
        "--out", help="X.png: one grid; X.npz: uint8 array 'images' (n, H, W, C); else a folder of PNG files"
    )
    parser.add_argument("--batch_size", type=int, help="images at a time (default: sized to memory)")
    parser.add_argument(
        "--class", type=int, help="the class of all images (default: image i has class i modulo the number)"
    )
    options = parser.parse_args(arguments)
    if options.out is None:
        raise ValueError("sample needs --out X.png, X.npz or a folder")
    out = check_output(Path(options.out), options.overwrite)
    model = _open(options)
    record = save_samples(
        model, options.n, options.seed, out, options.batch_size, classes=options["class"], progress=True
    )
    print(f"{options.n} samples in {out} ({record['images_per_second']:.0f} images/s)", file=sys.stderr)
    return 0


def _evaluate(arguments: list[str]) -> int:
    from ddgan.metrics.evaluate import DEFAULT_SAMPLES, METRICS, evaluate
    from ddgan.saving import check_output

    parser = _verb_parser("evaluate", "Score samples of a trained model.")
    parser.add_argument("-n", type=int, default=DEFAULT_SAMPLES, help=f"samples (default: {DEFAULT_SAMPLES})")
    parser.add_argument("--data", help="what to compare with (default: what the model was trained on)")
    parser.add_argument(
        "--metrics", nargs="+", help=f"any of {' '.join(METRICS)} (default: all that the data has)"
    )
    parser.add_argument("--out", help="where to write the scores as JSON")
    options = parser.parse_args(arguments)
    out = None if options.out is None else check_output(Path(options.out), options.overwrite)
    report = evaluate(_open(options), options.data, options.metrics, options.n, options.seed, progress=True)
    for name, value in report.table():
        print(f"{name:<40} {value}")
    if out is not None:
        report.save(out)
    return 0


def _prepare(arguments: list[str]) -> int:
    from jsonargparse import ArgumentParser

    from ddgan.data.check import check_dataset, contact_sheet
    from ddgan.data.dataset import ImageDataset
    from ddgan.data.decode import Preparation
    from ddgan.data.prepare import Selection, prepare
    from ddgan.data.readers import FORMS
    from ddgan.saving import check_output

    parser = ArgumentParser(
        prog="ddgan prepare",
        description=f"Decode a source of images once, for training. A source is {FORMS}. Sub-folders are "
        "classes. PNG, JPEG, WebP, BMP and TIFF are read. EXIF orientation is applied; palettes become "
        "colours; 16-bit values are scaled to 8 bits; transparent parts become white unless --channels 4; "
        "grey becomes RGB by repetition, colour becomes grey by luminance. CMYK, floating-point pixels and "
        "images above 100 million pixels are refused.",
        exit_on_error=False,
        allow_abbrev=False,
        print_config=None,
    )
    parser.add_argument("source", help="the images, or with --check also a prepared dataset")
    parser.add_argument("--out", help="the folder to make (default: one in the cache, DDGAN_CACHE)")
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset that is in --out")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one per core (default: 0)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out what cannot be used, and list it")
    parser.add_argument("--check", action="store_true", help="report on the images instead of preparing them")
    parser.add_argument("--sheet", help="with --check: where to write a contact sheet, X.png")
    parser.add_class_arguments(Preparation, None)
    parser.add_class_arguments(Selection, None)
    values = parser.parse_args(arguments)
    options = Preparation(**{name: values[name] for name in Preparation.__dataclass_fields__})
    selection = Selection(**{name: values[name] for name in Selection.__dataclass_fields__})
    if values.check:
        sheet = None if values.sheet is None else check_output(Path(values.sheet), values.overwrite)
        report = check_dataset(values.source, selection, progress=True)
        for name, value in report.table():
            print(f"{name:<24} {value}")
        if sheet is not None:
            contact_sheet(report, sheet)
        return 0
    if values.sheet is not None:
        raise ValueError("--sheet is for --check; leave it out or add --check")
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
    info = ImageDataset(path).info
    count, channels, height, width = info["shape"]
    classes = f", {info['num_classes']} classes" if info["num_classes"] else ""
    print(f"{count:,} images of {height} x {width} with {channels} channels{classes}", file=sys.stderr)
    for bad in info["skipped"]:
        print(f"left out '{bad['name']}': {bad['problem']}", file=sys.stderr)
    print(path)
    return 0


VERBS: dict[str, Callable[[list[str]], int]] = {
    "prepare": _prepare,
    "train": _train,
    "sample": _sample,
    "evaluate": _evaluate,
}
