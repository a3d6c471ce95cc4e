"""A playbook for a GPU that is available for half an hour: stages with time limits, and a final table.

    python -m benchmarks.gpu --data CIFAR10 --work runs/gpu --back OUT --minutes 9.5
    python -m benchmarks.gpu --data CIFAR10 --work runs/gpu --back OUT --minutes 6 --finish

tests        run the tests marked gpu
classifier   train the classifier of CIFAR-10, if the package does not have its weights yet
probe        time the recipe eager, compiled, replayed as a CUDA graph, and both
train        train one run of the recipe with the fastest of these
scores       Fréchet distance, precision, recall, class balance, memorisation, speed
pictures     a grid with a column per class, and one without classes

Each call continues where the last one ended: finished stages are skipped, and training resumes. At its end, a
call writes to `--back` the files to keep: the log, the scores, the pictures, and the weights of the EMA and
of D in bf16, from which `ddgan train --init` can start. Training gets the remaining time of a call; with
`--finish` it leaves enough for the later stages, which then run even if training has not ended. Optimizer
moments are not kept, so training on another machine starts with new ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import machine
from ddgan import RunConfig
from ddgan.config.overrides import parsed
from ddgan.data.sources import with_data
from ddgan.models.opening import open_weights
from ddgan.models.run_folder import CONFIG_NAME, LOG_NAME, SCORES_NAME, read_log
from ddgan.models.weights_file import DISCRIMINATOR_NAME, WEIGHTS_NAME, write_weights
from ddgan.system.devices import wait_for
from ddgan.system.files import save_tensors, write_atomically
from ddgan.system.processes import join_processes
from ddgan.training.cuda_graphs import NUM_USUAL, ReplayedUpdates
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state, resolved, training_inputs
from ddgan.training.workspace import discriminator_weights

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "docs/results/gpu/cifar10.yaml"
FORMS: dict[str, dict[str, bool]] = {
    "eager": {"training.compile": False, "training.cuda_graphs": False},
    "compiled": {"training.compile": True, "training.cuda_graphs": False},
    "replayed": {"training.compile": False, "training.cuda_graphs": True},
    "compiled and replayed": {"training.compile": True, "training.cuda_graphs": True},
}
CLASSIFIER = "_classifier"
"""Ends the names of features whose weights are trained here if the package lacks them."""
NUM_PROBED = 20
"""Smallest number of timed iterations; rounded up to whole periods of the penalty."""
LEAST_SECONDS = 10.0
"""With less time than this, a stage is postponed to the next call."""
GRACE_SECONDS = 45.0
"""Time between asking a stage to stop and killing it; training writes a checkpoint in it."""
RESERVES = {"scores": 90.0, "pictures": 25.0, "pack": 15.0}
"""Seconds that training leaves for later stages."""
METRICS = ("frechet", "precision_recall", "balance", "memorisation", "speed")


@dataclass
class Playbook:
    """The options, the end of this call, and the results of the stages so far."""

    options: argparse.Namespace
    ends_at: float
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.options.work

    @property
    def run(self) -> Path:
        return self.work / "run"

    @property
    def classifier_weights(self) -> Path:
        """The weights that the stage `classifier` writes."""
        return self.work / f"{self.options.features.removesuffix(CLASSIFIER)}.safetensors"

    @property
    def seconds_left(self) -> float:
        return self.ends_at - time.monotonic()

    def call(self, stage: str, command: Sequence[str], seconds: float, **environment: str) -> int:
        """Run a command with a time limit; its output is appended to the log of the stage.

        Returns:
            Its exit status; -SIGTERM or -SIGKILL if it was stopped.
        """
        log = self.work / "logs" / f"{stage}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {"DDGAN_CACHE": str(self.work / "cache")} | environment
        environment |= {"TORCHINDUCTOR_CACHE_DIR": str(self.work / "compiled")}
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.terminate()
            try:
                process.wait(GRACE_SECONDS)
                return -signal.SIGTERM
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return -signal.SIGKILL

    def log_of(self, stage: str) -> str:
        path = self.work / "logs" / f"{stage}.log"
        return path.read_text(errors="replace") if path.is_file() else ""

    def save(self) -> None:
        """Save the results of the stages."""
        write_atomically(self.work / "stages.json", json.dumps(self.results, indent=1) + "\n")


def tests(book: Playbook, seconds: float) -> dict[str, Any]:
    """Run the tests marked gpu once, whatever their result."""
    selected = ["-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    status = book.call("tests", [*selected, *book.options.pytest.split()], seconds)
    outcomes = re.findall(r"(\d+) (passed|failed|skipped|errors?)", book.log_of("tests"))
    counts = {name: int(count) for count, name in outcomes}
    summary = ", ".join(f"{count} {name}" for count, name in outcomes)
    return {"done": True, "status": status, **counts, "summary": summary}


def classifier(book: Playbook, seconds: float) -> dict[str, Any]:
    """Train the classifier that computes features for the scores, unless the package has its weights."""
    if has_features(book):
        return {"done": True, "summary": "already present"}
    made = book.classifier_weights
    script = ["docs/results/classifiers.py", made.stem, "--data", book.options.data, "--out", str(made)]
    status = book.call("classifier", script, seconds)
    return {"done": has_features(book), "status": status, "summary": last_line(book.log_of("classifier"))}


def has_features(book: Playbook) -> bool:
    """Whether the features of the scores can be opened; moves weights that were trained here into place.

    A later call may find the package as it was, without them.
    """
    if not book.options.features.endswith(CLASSIFIER):
        return True
    made = book.classifier_weights
    place = ROOT / "src/ddgan/metrics/weights" / made.name
    if not place.is_file() and made.is_file():
        place.parent.mkdir(exist_ok=True)
        shutil.copy(made, place)
    return place.is_file()


def probe(book: Playbook, seconds: float) -> dict[str, Any]:
    """Time the recipe in each form, in a process each, and choose the fastest."""
    ends_at = time.monotonic() + seconds
    forms: dict[str, dict[str, Any]] = book.results.get("probe", {}).get("forms", {})
    for form in FORMS:
        left = ends_at - time.monotonic()
        if form in forms or left < LEAST_SECONDS:
            continue
        if FORMS[form]["training.cuda_graphs"] and not torch.cuda.is_available():
            forms[form] = {"problem": "needs a CUDA device"}
            continue
        out = book.work / "probe.json"
        out.unlink(missing_ok=True)
        common = ["--data", book.options.data, "--recipe", str(book.options.recipe), *book.options.settings]
        status = book.call(
            "probe", ["-m", "benchmarks.gpu", "--probe", form, "--out", str(out), *common], left
        )
        is_made = status == 0 and out.is_file()
        forms[form] = json.loads(out.read_text()) if is_made else {"problem": f"exit status {status}"}
        book.results["probe"] = {"done": False, "forms": forms}
        book.save()
    times = {form: row["seconds"] for form, row in forms.items() if "seconds" in row}
    fastest = min(times, key=lambda form: times[form], default="eager")
    summary = f"{fastest}; " + ", ".join(f"{form} {1000 * taken:.1f} ms" for form, taken in times.items())
    return {"done": len(forms) == len(FORMS), "forms": forms, "fastest": fastest, "summary": summary}


def time_form(options: argparse.Namespace) -> None:
    """Time training iterations, including data and noise, and write the result."""
    config = configured(options).changed(FORMS[options.probe])
    processes = join_processes(config.training.device)
    device, start = processes.device, time.perf_counter()
    dataset = config.data.open(config.seed, device, num_held_out=0, progress=False)
    config = resolved(config, dataset)
    state = create_state(config, tuple(dataset.sample_shape), processes)
    inputs = training_inputs(config, dataset, processes)
    updates = ReplayedUpdates() if config.training.cuda_graphs else None
    period = config.method.period
    for _ in range(NUM_USUAL + 2 * period):  # each kind of iteration first runs eagerly, then is recorded
        iterate(state, *inputs(state.step), updates)
    wait_for(device)
    ready = time.perf_counter()
    count = -(-NUM_PROBED // period) * period
    for _ in range(count):
        iterate(state, *inputs(state.step), updates)
    wait_for(device)
    taken = (time.perf_counter() - ready) / count
    row = {"seconds": taken, "images_per_second": config.training.batch_size / taken}
    row |= {"seconds_to_start": ready - start, "iterations": count}
    if device.type == "cuda":
        row["memory_gb"] = torch.cuda.max_memory_reserved(device) / 1e9
    write_atomically(options.out, json.dumps(row))


def train(book: Playbook, seconds: float) -> dict[str, Any]:
    """Start or resume the run of the recipe; stop it gracefully when the time of the call is over."""
    options, run = book.options, book.run
    if (run / CONFIG_NAME).is_file():
        command = ["-m", "ddgan", "train", "--resume", str(run)]
    else:
        fastest = FORMS[book.results.get("probe", {}).get("fastest", "eager")]
        chosen = [part for name, value in fastest.items() for part in (f"--{name}", str(value).lower())]
        source = ["--config", str(options.recipe), "--data", options.data, "--out", str(run)]
        command = ["-m", "ddgan", "train", *source, *chosen, *options.settings, "--overwrite"]
        if options.init:
            command += ["--init", str(options.init)]
    status = book.call("train", command, seconds)
    if not (run / LOG_NAME).is_file() or not (records := read_log(run / LOG_NAME)):
        return {"done": False, "status": status, "summary": last_line(book.log_of("train"))}
    last = records[-1]
    summary = (
        f"iteration {last['step']:,}, {last['images']:,} images, {last['images_per_second']:,.0f} images/s"
    )
    row = {name: last[name] for name in ("step", "images", "seconds", "images_per_second", "memory_gb")}
    return {"done": status == 0, "status": status, "summary": summary, **row}


def scores(book: Playbook, seconds: float) -> dict[str, Any]:
    """Score the weights that are kept, in bf16."""
    options, out = book.options, book.work / SCORES_NAME
    has_features(book)
    weights = pack_weights(book)
    command = ["-m", "ddgan", "evaluate", str(weights), "--data", options.data, "-n", str(options.n)]
    command += ["--metrics", *options.metrics, "--features", options.features]
    status = book.call("scores", [*command, "--out", str(out), "--overwrite"], seconds)
    if status or not out.is_file():
        return {"done": False, "status": status, "summary": last_line(book.log_of("scores"))}
    found = json.loads(out.read_text())
    parts = {name: found[name] for name in ("frechet", "precision_recall") if found.get(name)}
    numbers = [
        f"{key} {value:.4g}"
        for part in parts.values()
        for key, value in part.items()
        if isinstance(value, float)
    ]
    return {"done": book.results["train"]["done"], "summary": ", ".join(numbers)}


def pictures(book: Playbook, seconds: float) -> dict[str, Any]:
    """Make grids of samples: one with a column per class, and one without classes."""
    weights, folder = str(pack_weights(book)), book.work / "pictures"
    folder.mkdir(exist_ok=True)
    classes = open_weights(weights)[0].config.num_classes
    grids = {"samples.png": ["-n", "100"]}
    if classes:
        grids["without_class.png"] = ["-n", "100", "--class", str(classes)]
    made = []
    for name, more in grids.items():
        command = ["-m", "ddgan", "sample", weights, *more, "--out", str(folder / name), "--overwrite"]
        if book.call("pictures", command, seconds / len(grids)) == 0:
            made.append(name)
    return {"done": book.results["train"]["done"], "summary": ", ".join(made)}


STAGES: dict[str, tuple[Callable[[Playbook, float], dict[str, Any]], float]] = {
    "tests": (tests, 150.0),
    "classifier": (classifier, 150.0),
    "probe": (probe, 240.0),
    "train": (train, float("inf")),
    "scores": (scores, 120.0),
    "pictures": (pictures, 60.0),
}
"""The stages in order, each with its time limit per call in seconds."""


def pack_weights(book: Playbook) -> Path:
    """Write the EMA as a model in bf16, and D beside it, to `--back`; returns the model's file."""
    path = book.options.back / WEIGHTS_NAME
    weights, _ = open_weights(book.run)
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in weights.tensors.items()}
    write_weights(path, rounded, *weights[1:])
    if found := discriminator_weights(book.run):
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in found.items()}
        save_tensors(path.with_name(DISCRIMINATOR_NAME), tensors, {})
    return path


def pack(book: Playbook) -> None:
    """Write the files to keep to `--back`: six files."""
    back = book.options.back
    back.mkdir(parents=True, exist_ok=True)
    if (book.run / WEIGHTS_NAME).is_file():
        pack_weights(book)
    if (made := book.classifier_weights).is_file():
        shutil.copy(made, back / "classifier.safetensors")
    for picture in (book.work / "pictures").glob("*.png"):
        shutil.copy(picture, back / picture.name)
    kept = [book.work / "stages.json", book.work / SCORES_NAME, *sorted((book.work / "logs").glob("*"))]
    kept += [book.run / name for name in (CONFIG_NAME, LOG_NAME)]
    kept += sorted((book.run / "grids").glob("*.png"))
    with tarfile.open(back / "records.tar.gz", "w:gz") as archive:
        for path in filter(Path.is_file, kept):
            archive.add(path, path.relative_to(book.work))


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-200:] if lines else ""


def configured(options: argparse.Namespace) -> RunConfig:
    """Load the recipe, and apply the data and the overrides."""
    pairs = zip(options.settings[::2], options.settings[1::2], strict=True)
    config = RunConfig.load(options.recipe)
    names = {name.removeprefix("--"): text for name, text in pairs}
    config = config.changed({name: parsed(text, name, config) for name, text in names.items()})
    return dataclasses.replace(config, data=with_data(config.data, options.data))


def take_stages(book: Playbook) -> None:
    """Run the selected stages that are not finished, each within its time limit."""
    for name in book.options.stages:
        if book.results.get(name, {}).get("done"):
            continue
        stage, most = STAGES[name]
        if name in ("scores", "pictures") and not (
            book.results.get("train", {}).get("done") or book.options.finish
        ):
            continue
        later = RESERVES if name == "train" and book.options.finish else {"pack": RESERVES["pack"]}
        reserve = sum(seconds for after, seconds in later.items() if after in ("pack", *book.options.stages))
        if name == "train":
            reserve += GRACE_SECONDS if not book.options.finish else 0
        seconds = min(most, book.seconds_left - reserve)
        if seconds < min(LEAST_SECONDS, most):
            print(f"{name}: postponed to the next call", flush=True)
            continue
        start = time.monotonic()
        row = stage(book, seconds)
        taken = book.results.get(name, {}).get("taken", 0.0) + time.monotonic() - start
        book.results[name] = row | {"taken": taken}
        book.save()
        print(f"{name}: {taken:.0f} s, {row['summary']}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages, keep their results, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="CIFAR-10 in any form that ddgan train reads")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="YAML file of training settings")
    parser.add_argument("--init", type=Path, help="folder from an earlier --back, to start from")
    parser.add_argument("--work", type=Path, help="folder on the machine, shared by all calls")
    parser.add_argument("--back", type=Path, help="folder for the files to keep")
    parser.add_argument("--minutes", type=float, help="time limit of this call")
    parser.add_argument("--finish", action="store_true", help="the last call: end with scores and pictures")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--features", default="cifar10_classifier", help="features of the scores")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS))
    parser.add_argument("-n", type=int, default=10_000, help="number of samples to score")
    parser.add_argument("--pytest", default="", help="additional pytest options")
    parser.add_argument("--probe", choices=list(FORMS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options, options.settings = parser.parse_known_args(arguments)
    if len(options.settings) % 2 or not all(name.startswith("--") for name in options.settings[::2]):
        parser.error(f"settings are pairs such as --training.batch_size 64, not {' '.join(options.settings)}")
    if options.probe:
        time_form(options)
        return
    for name in ("work", "back", "minutes"):
        if getattr(options, name) is None:
            parser.error(f"--{name} is required")
    options.work, options.back = options.work.resolve(), options.back.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    options.back.mkdir(parents=True, exist_ok=True)
    book = Playbook(options, time.monotonic() + 60 * options.minutes)
    if (known := options.work / "stages.json").is_file():
        book.results = json.loads(known.read_text())
    book.results["machine"] = {"done": True, "taken": 0.0, "summary": "", **machine()}
    try:
        take_stages(book)
    finally:
        book.save()
        pack(book)
        print_table(book)


def print_table(book: Playbook) -> None:
    """Print one row per stage."""
    about = book.results["machine"]
    print(f"\n{about['device']}, torch {about['torch']}, commit {about['commit'] or 'unknown'}")
    print(f"{'stage':<12} {'done':<5} {'seconds':>8}  result")
    for name in STAGES:
        row = book.results.get(name, {"done": False, "taken": 0.0, "summary": "not run"})
        print(f"{name:<12} {'yes' if row['done'] else 'no':<5} {row['taken']:>8.0f}  {row['summary']}")


if __name__ == "__main__":
    main()
