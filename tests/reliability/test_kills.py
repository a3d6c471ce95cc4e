"""Commands that are killed at random moments and started again end as if they had never been killed.

At every moment an output is absent or whole; in the end it is that of one undisturbed command, to the bit.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ddgan import Run, RunConfig
from ddgan.cli import main
from ddgan.models.run_folder import read_log
from ddgan.training.checkpoint import Checkpoints
from forked import Forked, forked

Contents = dict[str, Any]
TIMED = {"checksum", "memory_gb", "seconds", "images_per_second", "iterations_per_second", "speed", "minutes"}
"""What depends on how fast the machine was."""


@dataclass(frozen=True)
class Work:
    """A command with an output.

    Attributes:
        command: what to type, given the folder with the output so far.
        outputs: what the output contains; nothing while it is absent. It fails if something is torn.
    """

    command: Callable[[Path], list[str]]
    outputs: Callable[[Path], Contents]


def start(work: Work, folder: Path) -> Forked:
    return forked(folder / "said", main, work.command(folder), DDGAN_CACHE=str(folder / "cache"))


def finished(work: Work, folder: Path) -> Contents:
    process = start(work, folder)
    words = process.ended(300)
    assert process.code == 0, words
    return work.outputs(folder)


def killed_until_done(work: Work, folder: Path, kills: int, seed: int) -> tuple[Contents, Contents, int]:
    """Kill the command again and again, then let it end.

    Returns:
        The outputs of an undisturbed command, those of the killed one, and how often it had ended before
        the kill; it is then begun anew.
    """
    (folder / "whole").mkdir()
    finished(work, folder / "whole")  # fills the caches of the operating system
    shutil.rmtree(folder / "whole")
    (folder / "whole").mkdir()
    began = time.monotonic()
    whole = finished(work, folder / "whole")
    took = time.monotonic() - began
    rng, place, too_late = random.Random(seed), folder / "killed", 0
    place.mkdir()
    for _ in range(kills):
        process = start(work, place)
        process.process.join(rng.uniform(0, took))
        process.kill()
        assert process.code in (-signal.SIGKILL, 0), (place / "said").read_text()
        found = work.outputs(place)
        if process.code == 0:
            assert found == whole
            too_late += 1
            shutil.rmtree(place)
            place.mkdir()
    return whole, finished(work, place), too_late


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name not in TIMED}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def read(path: Path) -> Any:
    """The content of a file, without times and addresses; it fails if the file is torn."""
    if path.suffix == ".json":
        return timeless(json.loads(path.read_text()))
    if path.suffix == ".html":
        text = path.read_text()
        assert text.rstrip().endswith("</html>")
        return re.sub(r"[\d.,]+ (seconds|images/s)|seconds.*?</tr>", "", text, flags=re.S)
    return path.read_bytes()


def visible(folder: Path) -> Contents:
    """The outputs of a command that writes files beside each other."""
    return {
        str(path.relative_to(folder)): read(path)
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def in_out(folder: Path) -> Contents:
    return visible(folder / "out") if (folder / "out").is_dir() else {}


def of_run(folder: Path) -> Contents:
    """The weights, the state and the log of a run that has ended; nothing before."""
    run = folder / "run"
    if not (run / "samples.png").is_file() and not (run / "scores.json").is_file():
        return {}
    newest, problems = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert not problems
    log = [timeless(record) for record in read_log(run / "log.jsonl")]
    pictures = {path.name: path.read_bytes() for path in run.glob("*.png")}
    weights = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    scores = {path.name: read(path) for path in run.glob("scores.json")}
    return {"state": newest.metadata["sha256"], "log": log, **pictures, **weights, **scores}


@pytest.fixture(scope="module")
def works(tiny_run: Run, tiny_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Work]:
    place = tmp_path_factory.mktemp("settings")

    def training(name: str, **changes: Any) -> Work:
        config = tiny_config.changed({f"training.{key}": value for key, value in changes.items()})
        file = place / f"{name}.yaml"
        file.write_text(config.to_yaml())

        def command(folder: Path) -> list[str]:  # as a requeue script does
            run = folder / "run"
            if (run / "config.yaml").is_file():
                return ["train", "--resume", str(run)]
            return ["train", "--config", str(file), "--out", str(run)]

        return Work(command, of_run)

    def writing(*command: str) -> Work:
        def typed(folder: Path) -> list[str]:
            return [word.replace("OUT", str(folder / "out")) for word in command]

        return Work(typed, in_out)

    run, sizes = str(tiny_run.path), ("-n", "3000", "--batch_size", "50", "--overwrite")
    scores = place / "scores.json"
    assert main(["evaluate", run, "--metrics", "speed", "-n", "20", "--out", str(scores)]) == 0
    scored = ("--features", "pixels", "--metrics", "frechet", "-n", "500", "--overwrite")
    return {
        "start-up": training("start", num_iterations=1),
        "saves": training("saves", num_iterations=60, keep_every=1, keep_last=3),
        "scored run": training("scored", num_iterations=3, score_samples=20),
        "sample to .npz": writing("sample", run, *sizes, "--out", "OUT/x.npz"),
        "sample to a folder": writing("sample", run, *sizes, "--out", "OUT/folder"),
        "evaluate": writing("evaluate", run, *scored, "--out", "OUT/scores.json"),
        "compare": writing(
            "evaluate", "--compare", str(scores), str(scores), "--overwrite", "--out", "OUT/x.html"
        ),
    }


NAMES = ("start-up", "saves", "scored run", "sample to .npz", "sample to a folder", "evaluate", "compare")


@pytest.mark.parametrize(
    ("name", "kills"),
    [*((name, 3) for name in NAMES if name != "scored run")]
    + [pytest.param(name, 20 if name == "scored run" else 50, marks=pytest.mark.slow) for name in NAMES],
)
def test_killed_at_random_moments_the_result_is_the_same(
    works: dict[str, Work], tmp_path: Path, name: str, kills: int
) -> None:
    whole, killed, too_late = killed_until_done(works[name], tmp_path, kills, seed=kills)
    assert whole
    assert killed == whole
    print(f"{name}: {kills} kills, {too_late} of them after the end")
