"""Training on few images, with and without augmentation of D: the table by number of images.

    OMP_NUM_THREADS=1 python docs/results/few_images.py run emoji 300 augmented --out runs/few
    OMP_NUM_THREADS=1 python docs/results/few_images.py all --cifar10 PATH --seeds 0 1 --out runs/few
    python docs/results/few_images.py table runs/few

Random subsets of CIFAR-10 (any form that `--data` takes) and of the embedded emoji, all trained without
classes for the same number of iterations. Beside each subset, other training images are held out for D's
overfitting gap: how far D's logit on them has fallen from that on training images (0) to that on fakes (1).
The Fréchet and kernel distances compare with the test images, in the features of the classifier that comes
with ddgan (there are so few of emoji that only the kernel distance is unbiased); memorisation compares with
the images held out. A second call skips what is finished and resumes the rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ddgan
from ddgan import RunConfig
from ddgan.data.emoji import split_emoji
from ddgan.data.sources import open_data
from ddgan.metrics.speed import describe_machine
from ddgan.models.run_folder import CONFIG_NAME, LOG_NAME, read_log

DATA = ("emoji", "cifar10")
COUNTS = ("100", "300", "1000", "all")
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "augmented": {"method.augmentation": {"probability": 0.1, "target": 0.6, "images": 100.0}},
}
"""By name, the settings that differ from `BASE`."""
PRESET = "cifar10_small"
UNET = {"base_channels": 32, "channel_multipliers": [1, 2, 2], "num_blocks": 1, "attention_resolutions": [8]}
RESNET = {"base_channels": 32, "channel_multipliers": [1, 2, 4], "downsample": [False, True, True]}
BASE: dict[str, Any] = {
    "generator": {"kind": "subbands", "network": {"kind": "ncsnpp"} | UNET},
    "method.discriminators.pair": {"kind": "subbands", "network": {"kind": "resnet"} | RESNET},
    "training.batch_size": 32,
    "training.log_every": 50,
    "training.score_samples": 0,
}
"""Networks for a processor of two cores, on a quarter of the pixels."""
SHARE_HELD_OUT, MOST_HELD_OUT = 0.1, 256
"""Of the training images, for D's overfitting gap and memorisation."""
LAST = 0.25
"""Share of a run, its end, over which the overfitting gap is averaged."""
RESULT = "few.json"


class Images(NamedTuple):
    """Training and test images, uint8 (N, H, W, C)."""

    train: np.ndarray
    test: np.ndarray


def images_of(name: str, cifar10: str) -> Images:
    """Load the images.

    Raises:
        SystemExit: if CIFAR-10 is asked for and no path was given.
    """
    if name == "emoji":
        return Images(*(split_emoji(split)[0].transpose(0, 2, 3, 1) for split in ("train", "test")))
    if not cifar10:
        raise SystemExit("few_images: data is cifar10, but --cifar10 is not given; pass its path")
    opened: Any = [open_data(cifar10, split=split) for split in ("train", "test")]
    return Images(*(np.asarray(one.images).transpose(0, 2, 3, 1) for one in opened))


def subset(train: np.ndarray, count: str) -> tuple[np.ndarray, int]:
    """Return a random choice of training images, always the same, and how many of them are to be held out.

    Args:
        train: all training images, (N, ...).
        count: how many to train on; "all" for as many as are left by those that are held out.

    Raises:
        SystemExit: if there are not so many.
    """
    held_out = min(round(SHARE_HELD_OUT * len(train)), MOST_HELD_OUT)
    most = len(train) - held_out
    asked = most if count == "all" else int(count)
    if not 1 <= asked <= most:
        raise SystemExit(f"few_images: count is {count}, but there are {most:,} images beside those held out")
    order = np.random.default_rng(0).permutation(len(train))
    return train[np.sort(order[: asked + held_out])], held_out


def gap_of(records: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return the means of D's logits, its overfitting gap and the strength over the last part of a log."""
    last = records[-max(round(LAST * len(records)), 1) :]
    means = {}
    for name in ("d_real", "d_held_out", "d_fake", "memorised", "augmentation"):
        values = [record[name] for record in last if record.get(name) is not None]
        means[name] = statistics.fmean(values) if values else None
    return means


def run(name: str, count: str, variant: str, seed: int, options: argparse.Namespace) -> None:
    """Train and score one model, unless that is done; resume it if it was begun.

    Raises:
        SystemExit: if it was begun with another number of iterations.
    """
    folder = options.out / f"{name}-{count}-{variant}-{seed}"
    if (folder / RESULT).is_file():
        print(f"{folder} is finished")
        return
    images = images_of(name, options.cifar10)
    train, held_out = subset(images.train, count)
    if (folder / CONFIG_NAME).is_file():
        begun = RunConfig.load(folder / CONFIG_NAME).training.num_iterations
        if begun != options.iterations:
            raise SystemExit(f"few_images: '{folder}' has {begun} iterations; pass --iterations {begun}")
        made = ddgan.resume(folder, data=train)
    else:
        changes = (
            BASE | VARIANTS[variant] | {"training.held_out": held_out, "training.device": options.device}
        )
        length = {"training.num_iterations": options.iterations}
        made = ddgan.train(PRESET, folder, data=train, seed=seed, **changes | length)
    if made.interrupted:
        raise SystemExit(128 + made.ended_by)
    common = {"features": f"{name}_classifier", "n": options.samples, "progress": True}
    scores = ddgan.evaluate(made.model, images.test, ["frechet", "kernel"], **common)
    memory = ddgan.evaluate(made.model, None, ["memorisation"], **common)
    result = {
        "data": name,
        "count": len(train) - held_out,
        "variant": variant,
        "seed": seed,
        "iterations": options.iterations,
        "images_seen": options.iterations * made.model.config.training.batch_size,
        "gap": gap_of(read_log(folder / LOG_NAME)),
        "scores": scores.to_dict(),
        "memorisation": memory.to_dict(),
        "machine": describe_machine(made.model.device),
    }
    (folder / RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")


def number(value: float | None, digits: int = 3) -> str:
    """Format a number, or a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(folder: Path) -> None:
    """Print a Markdown table with a row per finished run."""
    print(
        "| data | images | augmentation of D | seed | images seen, thousands | overfitting gap | D on real, "
        "held-out, fake | Fréchet to test images | kernel, x 1000 | nearer to training images | copies |"
    )
    print("|" + "---|" * 11)
    results = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"*/{RESULT}")]
    for result in sorted(results, key=lambda one: (one["data"], one["count"], one["variant"], one["seed"])):
        gap, scores = result["gap"], result["scores"]
        memory = result["memorisation"]["memorisation"]
        strength = "" if gap["augmentation"] is None else f" (to {gap['augmentation']:.2f})"
        cells = [
            result["data"],
            f"{result['count']:,}",
            ("no" if result["variant"] == "plain" else result["variant"]) + strength,
            str(result["seed"]),
            f"{result['images_seen'] / 1000:,.0f}",
            number(gap["memorised"], 2),
            ", ".join(number(gap[name], 2) for name in ("d_real", "d_held_out", "d_fake")),
            number(scores["frechet"]["value"], 2),
            number(1000 * scores["kernel"]["value"], 2),
            number(memory["nearer"]),
            f"{memory['copies']:.1%}",
        ]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Run one model or all of them, or print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("data", choices=DATA)
    one.add_argument("count", help="number of training images, or all")
    one.add_argument("variant", choices=VARIANTS)
    one.add_argument("--seed", type=int, default=0)
    every = commands.add_parser("all")
    every.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    every.add_argument("--counts", nargs="+", default=COUNTS)
    every.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    every.add_argument("--seeds", nargs="+", type=int, default=[0])
    for command in (one, every):
        command.add_argument("--cifar10", default="", help="CIFAR-10, in any form that --data takes")
        command.add_argument("--iterations", type=int, default=5_000)
        command.add_argument("--samples", type=int, default=5_000)
        command.add_argument("--device", default="auto")
        command.add_argument("--out", type=Path, required=True)
    commands.add_parser("table").add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        table(options.folder)
    elif options.command == "run":
        run(options.data, options.count, options.variant, options.seed, options)
    else:
        for seed in options.seeds:
            for count in options.counts:
                for name in options.data:
                    for variant in options.variants:
                        run(name, count, variant, seed, options)


if __name__ == "__main__":
    main()
