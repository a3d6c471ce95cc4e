r"""Screening of ideas for quality per compute, on stacked digits: one seed, equal processor time.

    OMP_NUM_THREADS=1 python docs/results/quality.py run base --out runs/quality
    python docs/results/quality.py table runs/quality
    OMP_NUM_THREADS=1 python docs/results/quality.py run emoji_unet --out runs/quality \
        --preset docs/results/quality_emoji.yaml
    python docs/results/quality.py steps runs/quality/base-0
    OMP_NUM_THREADS=1 python docs/results/quality.py trilemma base --seed 0 --out runs/trilemma
    python docs/results/quality.py trilemma_table runs/trilemma

A variant changes the settings of the base by dotted name; several are joined by +. The processor time of an
iteration is measured first and gives the number of iterations, so that other work beside a run does not
shorten it.
"""

from __future__ import annotations

import argparse
import functools
import json
import operator
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import ddgan
from ddgan.metrics.classifier import digits_classifier
from ddgan.metrics.modes import DigitCounter, digit_shares
from ddgan.metrics.real_data import open_real
from ddgan.metrics.samples import quantised
from ddgan.metrics.speed import describe_machine
from ddgan.models.run_folder import read_log
from ddgan.system.outputs import read_record

BASE = "digits_quick"
DIGITS = (BASE, "modern_digits", "modern_stackedmnist")
EMOJI = ("emoji", "emoji_classifier")
DATA = {BASE: ("digits", "classifier"), "quality_emoji": EMOJI, "modern_emoji": EMOJI}
"""Preset, or name of a file of settings -> the data and the features that its samples are scored with."""
DIFFERENCES = [{"kind": kind, "gamma": 0.002, "epsilon": 0.01, "share": 0.25} for kind in ("r1", "r2")]
SMALL = {
    "kind": "resnet",
    "base_channels": 8,
    "channel_multipliers": [1, 2, 4],
    "downsample": [False, True, True],
    "time_features": 64,
}
FLAT = {"kind": "mlp", "hidden_features": 512}


def on_bands(transform: str, base_channels: int) -> dict[str, Any]:
    """Return a D on the sub-bands of the images."""
    sizes = {"channel_multipliers": [1, 2], "downsample": [False, True], "time_features": 64}
    return {
        "kind": "subbands",
        "transform": transform,
        "network": {"kind": "resnet", "base_channels": base_channels} | sizes,
    }


def nested(network: dict[str, Any]) -> dict[str, Any]:
    """Return a network on Haar sub-bands of Haar sub-bands, a sixteenth of the pixels."""
    for _ in range(2):
        network = {"kind": "subbands", "transform": "haar", "network": network}
    return network


MNIST_FIRST: dict[str, Any] = {
    "diffusion.schedule": {"kind": "vp", "beta_max": 8.0},
    "method.discriminators.pair": nested(
        {
            "kind": "resnet",
            "base_channels": 32,
            "channel_multipliers": [1, 2],
            "downsample": [False, True],
            "time_features": 64,
            "pooling": "flat",
        }
    ),
    "training.batch_size": 128,
}


VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "transport": {"method.transport": {"weight": 1e-3}},
    "transport_4e-3": {"method.transport": {"weight": 4e-3}},
    "differences": {"method.penalties": DIFFERENCES},
    "denoise_first": {"method.denoise_first": 1500},
    "d_rate_5e-4": {"optimization.discriminator.lr": 5e-4},
    "d_rate_2e-4": {"optimization.discriminator.lr": 2e-4},
    "d_16": {"method.discriminators.pair.base_channels": 16},
    "d_32": {"method.discriminators.pair.base_channels": 32},
    "d_unshuffled": {"method.discriminators.pair": on_bands("unshuffle", 48)},
    "d_haar": {"method.discriminators.pair": on_bands("haar", 48)},
    "d_both": {"method.discriminators.pair": {"kind": "ensemble", "networks": [SMALL, FLAT]}},
    "d_mlp_1024": {"method.discriminators.pair": {"kind": "mlp", "hidden_features": 1024}},
    "d_mlp": {"method.discriminators.pair": FLAT},
    "d_mlp_marginal": {"method.discriminators": {"pair": FLAT, "marginal": SMALL}},
    "g_256": {"generator.hidden_features": 256},
    "bf16": {"training.precision": "bf16"},
    "g_rate_2e-3": {"optimization.generator.lr": 2e-3},
    "g_rate_4e-3": {"optimization.generator.lr": 4e-3},
    "batch_128": {"training.batch_size": 128, "optimization.ema.decay": 0.9985},
    "batch_512": {"training.batch_size": 512, "optimization.ema.decay": 0.994},
    "g_rate_3e-3": {"optimization.generator.lr": 3e-3},
    "d_flat": {"method.discriminators.pair.pooling": "flat"},
    "d_unshuffled_24": {"method.discriminators.pair": on_bands("unshuffle", 24)},
    "g_skip": {"generator.skip": True},
    "g_512": {"generator.hidden_features": 512},
    "reconstruction_60": {"method.reconstruction.weight": 60.0},
    "even_reconstruction": {"method.reconstruction.by_signal": False},
    "by_noise": {"method.reconstruction.by_signal": False, "method.reconstruction.by_noise": True},
    "by_both": {"method.reconstruction.by_noise": True, "method.reconstruction.weight": 100.0},
    "d_rate_1e-3": {"optimization.discriminator.lr": 1e-3},
    "weak_penalty": {"method.penalties": [{"kind": "r1", "gamma": 0.001, "every": 8}]},
    "encoder": {
        "method.discriminators.pair": {
            "kind": "encoder",
            "network": {"kind": "mlp", "hidden_features": 384, "num_blocks": 2, "latent_size": 32},
        }
    },
    "mnist_first": MNIST_FIRST | {"generator.hidden_features": 1024},
    "mnist_unet": MNIST_FIRST
    | {
        "generator": nested(
            {
                "kind": "ncsnpp",
                "base_channels": 64,
                "channel_multipliers": [1, 2],
                "num_blocks": 1,
                "attention_resolutions": [],
                "latent_size": 32,
                "mapping_features": 64,
                "mapping_depth": 1,
            }
        )
    },
    "emoji_first": {
        "diffusion.num_steps": 4,
        "generator.latent_size": 64,
        "method.augmentation": None,
        "method.discriminators.pair": {
            "kind": "subbands",
            "transform": "haar",
            "network": SMALL | {"base_channels": 32},
        },
        "method.penalties": [{"kind": "r1", "gamma": 0.05, "every": 8}],
        "method.reconstruction.weight": 10.0,
        "training.batch_size": 64,
    },
    "emoji_unet": {
        "diffusion.num_steps": 4,
        "generator": nested(
            {
                "kind": "ncsnpp",
                "base_channels": 76,
                "channel_multipliers": [1, 2],
                "num_blocks": 1,
                "attention_resolutions": [],
                "latent_size": 64,
                "mapping_features": 128,
                "mapping_depth": 2,
            }
        ),
        "method.discriminators.pair": on_bands("haar", 48),
    },
    "cosine": {"diffusion.schedule": {"kind": "cosine", "signal_left": 0.01}},
    "late_steps": {"method.step_weights": [2, 3, 3, 2, 1, 1, 1, 1]},
    "beta_4": {"diffusion.schedule": {"kind": "vp", "beta_max": 4.0}},
    "beta_8": {"diffusion.schedule": {"kind": "vp", "beta_max": 8.0}},
    "beta_20": {"diffusion.schedule": {"kind": "vp", "beta_max": 20.0}},
    "t_4": {"diffusion.num_steps": 4},
    "t_2": {"diffusion.num_steps": 2},
    "reconstruction_1": {"method.reconstruction.weight": 1.0},
    "reconstruction_10": {"method.reconstruction.weight": 10.0},
    "reconstruction_25": {"method.reconstruction.weight": 25.0},
    "beta_2_ramp": {
        f"optimization.{name}.betas": [0.5, {"start": 0.9, "end": 0.99}]
        for name in ("generator", "discriminator")
    },
    "augmentation": {"method.augmentation": {"probability": 0.2, "flips": False, "scale": 0.1}},
    "betas_.9_.99": {f"optimization.{name}.betas": [0.9, 0.99] for name in ("generator", "discriminator")},
    "g_betas_.9_.99": {"optimization.generator.betas": [0.9, 0.99]},
    "relativistic": {
        "method.adversarial.kind": "relativistic",
        "method.penalties": [
            *(
                {
                    "kind": kind,
                    "gamma": {"start": 0.1, "end": 0.01, "share": 0.5, "shape": "cosine"},
                    "epsilon": 0.01,
                    "share": 0.25,
                }
                for kind in ("r1", "r2")
            ),
            {"kind": "centring", "gamma": 0.01},
        ],
    },
    "rate_decay": {"optimization.final_lr": 1e-4, "optimization.decay_share": 0.5},
    "rampup": {"optimization.ema.decay": 0.9995, "optimization.ema.rampup": 0.05},
}


def changes_of(name: str) -> dict[str, Any]:
    """Return the settings of a variant, or of several joined by +."""
    return functools.reduce(operator.or_, (VARIANTS[part] for part in name.split("+")))


class Clock(ddgan.Callback):
    """Notes the processor time after each iteration."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, session: Any) -> None:
        self.times.append(time.process_time())


def seconds_per_iteration(preset: str, changes: dict[str, Any], path: str | None = None) -> float:
    """Measure the processor time of an iteration over several periods of the penalties."""
    clock = Clock()
    short = {"training.num_iterations": 60, "training.score_samples": 0}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        ddgan.train(preset, run, data=path, verbose=False, callbacks=[clock], **changes | short)
    return (clock.times[-1] - clock.times[11]) / (len(clock.times) - 12)


def iterations_in(minutes: float, preset: str, changes: dict[str, Any], path: str | None) -> int:
    """Return how many iterations take so many minutes of processor time."""
    first = int(changes.get("method.denoise_first", 0))
    left = 60 * minutes
    if first:
        left -= first * seconds_per_iteration(preset, changes, path)  # all of its iterations denoise
    usual = seconds_per_iteration(preset, changes | {"method.denoise_first": 0}, path)
    return first + round(left / usual)


def run(name: str, minutes: float, seed: int, out: Path, preset: str, path: str | None) -> None:
    """Train and score one variant."""
    changes = changes_of(name)
    length = {"training.num_iterations": iterations_in(minutes, preset, changes, path)}
    modes = 26_000 if preset in DIGITS else 0
    changes |= length | {"training.score_samples": modes, "training.log_every": 100}
    folder = out / f"{name}-{seed}"
    began = time.process_time()
    made = ddgan.train(preset, folder, data=path, seed=seed, **changes)
    taken = time.process_time() - began
    data, features = DATA.get(Path(preset).stem, (path, "classifier"))
    metrics = ["frechet", "precision_recall"]
    report = ddgan.evaluate(made.model, data, metrics, 5_000, features=features, device="cpu")
    report.save(folder / "quality.json")
    about = {"machine": describe_machine(made.model.device), "processor_minutes": taken / 60}
    (folder / "about.json").write_text(json.dumps(about))


def table(folder: Path) -> None:
    """Print a Markdown table with a row per run."""
    print(
        "| variant | seed | iterations | processor minutes | KL | modes | high-confidence share of the real "
        "| Fréchet | precision | recall | D's loss | memory |"
    )
    print("|" + "---|" * 12)
    for path in sorted(folder.iterdir()):
        if not (path / "quality.json").is_file():
            continue
        name, _, seed = path.name.rpartition("-")
        last = read_log(path / "log.jsonl")[-1]
        scored = path / "scores.json"
        modes = read_record(scored)["modes"] if scored.is_file() else None
        other = read_record(path / "quality.json")
        cells = [
            name,
            seed,
            f"{last['step']:,}",
            f"{minutes_of(path):.1f}",
            f"{modes['kl']:.3f}" if modes else "",
            str(modes["modes"]) if modes else "",
            f"{modes['confident'] / modes['confident_real']:.3f}" if modes else "",
            f"{other['frechet']['value']:.2f}",
            f"{other['precision_recall']['precision']:.3f}",
            f"{other['precision_recall']['recall']:.3f}",
            f"{last['loss_d']:.3f}",
            f"{last['memory_gb']:.2f} GB",
        ]
        print(f"| {' | '.join(cells)} |")


@torch.no_grad()
def steps(run: Path, n: int = 2_600) -> None:
    """Print the share of high-confidence channels, relative to real digits, of samples from a real x_t."""
    model, draw = ddgan.DDGAN.from_pretrained(run), torch.Generator().manual_seed(0)
    real = torch.cat(list(open_real("digits").batches()))
    rows = torch.randint(len(real), (model.sample_shape[0], n), generator=draw)
    x_0 = torch.stack([real[row, channel] for channel, row in enumerate(rows)], dim=1) / 127.5 - 1

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(n, *shape, generator=draw)

    last = model.diffusion.num_steps
    for start in range(last + 1):
        x = x_0
        if start:
            t = torch.full((n,), start)
            own = noise(*model.sample_shape)
            x_t = own if start == last else model.diffusion.diffuse(x_0, t, own)
            for step in model.chain(x_t, noise, start):
                x = step.x_prev
        counter = DigitCounter(digits_classifier(), digit_shares(len(rows)))
        counter.update(quantised(x))
        score = counter.score()
        print(f"t = {start}: {score.confident / score.confident_real:.3f}", flush=True)


def trilemma(name: str, seed: int, out: Path) -> None:
    """Train a variant with T = 4, and DDPM, on as many images; score both alike. What is there is kept."""
    changes = changes_of(name)
    alike = {"training.num_iterations": 5200, "training.batch_size": 256, "training.score_samples": 0}
    methods = {name: (BASE, changes | {"diffusion.num_steps": 4}), "ddpm": ("digits_ddpm", {})}
    for method, (preset, own) in methods.items():
        folder = out / f"{method}-{seed}"
        if (folder / "quality.json").is_file():
            continue
        if (folder / "config.yaml").is_file():
            made = ddgan.resume(folder)
        else:
            made = ddgan.train(preset, folder, seed=seed, **own | alike | {"training.log_every": 100})
        metrics = ["frechet", "precision_recall", "modes"]
        report = ddgan.evaluate(made.model, "digits", metrics, 5_000, features="classifier", device="cpu")
        report.save(folder / "quality.json")


def trilemma_table(folder: Path) -> None:
    """Print a Markdown table with the mean, and each seed, of every method."""
    print("| method | Fréchet | precision | recall | high-confidence modes |\n" + "|" + "---|" * 5)
    found: dict[str, list[list[float]]] = {}
    for path in sorted(folder.glob("*/quality.json")):
        record = read_record(path)
        both, modes = record["precision_recall"], record["modes"]
        values = [record["frechet"]["value"], both["precision"], both["recall"], modes["confident_modes"]]
        found.setdefault(path.parent.name.rpartition("-")[0], []).append(values)
    for method, rows in found.items():
        cells = [method]
        for values, places in zip(zip(*rows, strict=True), (2, 3, 3, 0), strict=True):
            each = ", ".join(f"{value:.{places}f}" for value in values)
            cells.append(f"{sum(values) / len(values):.{places}f} ({each})")
        print(f"| {' | '.join(cells)} |")


def minutes_of(run: Path) -> float:
    """Return the processor time of a run, or for the first ones, which were alone, the time."""
    about = run / "about.json"
    if about.is_file():
        return float(json.loads(about.read_text())["processor_minutes"])
    return float(read_log(run / "log.jsonl")[-1]["seconds"]) / 60


def main() -> None:
    """Run a variant, or print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("name", help="a variant, or several joined by +: " + ", ".join(VARIANTS))
    runner.add_argument("--minutes", type=float, default=5.0)
    runner.add_argument("--seed", type=int, default=0)
    runner.add_argument("--preset", default=BASE)
    runner.add_argument("--data", help="images for a preset that has none")
    runner.add_argument("--out", type=Path, required=True)
    printer = commands.add_parser("table")
    printer.add_argument("folder", type=Path)
    commands.add_parser("steps").add_argument("run", type=Path)
    compared = commands.add_parser("trilemma")
    compared.add_argument("name")
    compared.add_argument("--seed", type=int, default=0)
    compared.add_argument("--out", type=Path, required=True)
    commands.add_parser("trilemma_table").add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        table(options.folder)
    elif options.command == "steps":
        steps(options.run)
    elif options.command == "trilemma":
        trilemma(options.name, options.seed, options.out)
    elif options.command == "trilemma_table":
        trilemma_table(options.folder)
    else:
        run(options.name, options.minutes, options.seed, options.out, options.preset, options.data)


if __name__ == "__main__":
    main()
