"""The commands and programs in README.md and docs/: which of them are run, which are not, and why.

    PYTHONPATH=src:tests python tests/documented.py     # lists what is not run, by reason

Every fenced block in a language of `RUN` needs a mark, an HTML comment before it, which readers do not see:

    <!-- run -->                            with tiny settings, in a folder that the blocks of a page share
    <!-- run as my_losses.py -->            the block is the content of that file
    <!-- run by tests/test_outside.py -->   another test or script runs it
    <!-- not run: needs a GPU -->           a reason, for people
    <!-- run
    before ddgan train --preset digits_quick --out runs/digits
    not torchrun: needs eight GPUs
    -->

`before` names a command that is run first; `not PATTERN: REASON` leaves out the lines that contain the
pattern. A page with `<!-- nothing on this page is run: REASON -->` needs no other marks.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHELL, PYTHON = "shell", "python"
RUN = {"": SHELL, "bash": SHELL, "console": SHELL, "sh": SHELL, "shell": SHELL, "python": PYTHON}
"""What a block is, by the language of its fence."""
NOT_RUN = re.compile(r"<!-- nothing on this page is run: (.+?) -->", re.DOTALL)
FENCE = re.compile(r"^( *)```(\w*)")
MOST = {"-n": 24, "--num_iterations": 8, "--training.num_iterations": 8, "--training.batch_size": 8}
"""The largest values that options get here."""
MINUTES = 0.005
"""Of all trainings that are limited by time."""
RESUMED = 200
"""Iterations up to which a run is resumed: more than it does in `MINUTES`."""
LEAST_SAMPLES = 60
"""Samples that a score needs."""


class MarkError(ValueError):
    """A block without a mark, or a mark that means nothing."""


@dataclass(frozen=True)
class Mark:
    """What a comment says of the block after it.

    Args:
        reason: why it is not run here; empty if it is.
        file: the name of the file whose content it is.
        before: commands to run first.
        left_out: reasons, by a part of the lines that are not run.
    """

    reason: str = ""
    file: str = ""
    before: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        where: page and line, for messages.
        kind: SHELL or PYTHON.
        text: its content.
        mark: what the comment before it says.
    """

    where: str
    kind: str
    text: str
    mark: Mark

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield (command, reason for which it is not run, or empty) for each line of a shell."""
        for command in lines(self.text):
            reasons = [why for part, why in self.mark.left_out.items() if part in command]
            yield command, self.mark.reason or (reasons[0] if reasons else "")


@cache
def pages() -> list[Path]:
    """README.md and the pages of the site, except reports that a command wrote."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(page for page in found if page.name != "report.md")]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def read_mark(comment: str, where: str) -> Mark | None:
    """Read a comment; None if it is not a mark.

    Raises:
        MarkError: if it begins as a mark does, and goes on otherwise.
    """
    first, *others = (line.strip() for line in comment.strip().splitlines())
    if first.startswith("not run:") and (reason := " ".join([first[8:], *others]).strip()):
        return Mark(reason=reason)
    words = first.split()
    if words[:2] == ["run", "by"] and len(words) == 3:
        if not (ROOT / words[2]).is_file():
            raise MarkError(f"{where}: there is no {words[2]}, which is said to run the block")
        return Mark(reason=f"run by {words[2]}")
    is_file = words[:2] == ["run", "as"] and len(words) == 3
    if words != ["run"] and not is_file:
        if words[:1] in (["run"], ["not"]):
            raise MarkError(f"{where}: the mark '{first}' means nothing; see tests/documented.py")
        return None
    before, left_out = [], {}
    for line in others:
        what, _, rest = line.partition(" ")
        part, colon, why = rest.rpartition(": ")
        if what == "before" and rest:
            before.append(rest)
        elif what == "not" and colon and part and why:
            left_out[part] = why
        else:
            raise MarkError(f"{where}: the mark has the line '{line}', which means nothing")
    return Mark(file=words[2] if is_file else "", before=tuple(before), left_out=left_out)


def blocks(page: Path) -> list[Block]:
    """All blocks of commands and of Python on a page.

    Raises:
        MarkError: if one has no mark, or a mark has no block.
    """
    text = page.read_text(encoding="utf-8")
    nothing = NOT_RUN.search(text)
    found: list[Block] = []
    mark: Mark | None = None
    numbered = iter(enumerate(text.splitlines(), 1))
    for number, line in numbered:
        where = f"{name_of(page)}:{number}"
        if line.strip().startswith("<!--"):
            comment = line.strip()[4:]
            while "-->" not in comment:
                comment += "\n" + next(numbered)[1]
            if mark is not None:
                raise MarkError(f"{where}: a mark follows another, without a block between them")
            mark = read_mark(comment[: comment.index("-->")], where)
        elif fence := FENCE.match(line):
            body = []
            while not (line := next(numbered)[1]).strip().startswith("```"):
                body.append(line)
            kind = RUN.get(fence[2])
            if kind is None and mark is not None:
                raise MarkError(f"{where}: the mark is before a block in '{fence[2]}', which is never run")
            if kind is None:
                continue
            if mark is None and nothing is not None:
                mark = Mark(reason=" ".join(nothing[1].split()))
            if mark is None:
                raise MarkError(
                    f"{where}: the block has no mark, such as <!-- run -->; see tests/documented.py"
                )
            block = Block(where, kind, textwrap.dedent("\n".join(body)) + "\n", mark)
            for part in mark.left_out:
                if not any(part in command for command in lines(block.text)):
                    raise MarkError(f"{where}: no line of the block has '{part}', which its mark leaves out")
            found.append(block)
            mark = None
        elif line.strip() and mark is not None:
            raise MarkError(f"{where}: a mark is followed by text instead of a block")
    return found


def lines(text: str) -> list[str]:
    """The commands of a shell block: joined where they are continued, without comments."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [line.strip() for line in joined.splitlines() if shlex.split(line, comments=True)]


def not_run(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (where, command, reason) for each command, and each program, that is not run here."""
    for block in blocks(page):
        if block.kind == SHELL:
            yield from ((block.where, command, why) for command, why in block.commands() if why)
        elif block.mark.reason:
            yield block.where, block.text.strip().partition("\n")[0], block.mark.reason


def ddgan_arguments(command: str) -> list[str] | None:
    """The arguments of `ddgan` in a command, also of `-m ddgan` under a launcher; None if it is another."""
    words = shlex.split(command, comments=True)
    if words[0] == "ddgan":
        return words[1:]
    for first, second in itertools.pairwise(words):
        if (first, second) == ("-m", "ddgan"):
            return words[words.index("ddgan") + 1 :]
    return None


def tiny(arguments: list[str]) -> list[str]:
    """The same arguments with numbers that take a second."""
    short = list(arguments)
    for position, (option, value) in enumerate(itertools.pairwise(arguments), 1):
        if option in MOST and value.isdigit():
            most = LEAST_SAMPLES if arguments[0] == "evaluate" else MOST[option]
            most = RESUMED if "--resume" in arguments else most
            short[position] = str(min(int(value), most))
        elif option == "--minutes" and arguments[0] == "train":
            short[position] = str(MINUTES)
    is_made = arguments[0] == "train" and not {"--resume", "--print_config", "--print_schema"} & {*arguments}
    if is_made and not {"--preset", "--config"} & {*arguments}:  # settings that a plan chooses
        settings = {"num_iterations": "4", "batch_size": "8", "score_samples": "40", "features": "offline"}
        for option, value in settings.items():
            is_given = f"--training.{option}" in short or (
                option == "num_iterations" and "--minutes" in short
            )
            short += [] if is_given else [f"--training.{option}", value]
    return short


def shrink() -> None:
    """Make presets, plans and scores small, and cut the network; for the whole process."""
    import socket

    import pytest

    import ddgan
    from ddgan.config import run_config
    from ddgan.config.presets import preset_names
    from ddgan.metrics import evaluation
    from ddgan.planning import rules
    from ddgan.planning.cost import measured_cost
    from ddgan.training import trainer
    from tiny import hasten, shrunk

    def offline(*_: Any) -> None:
        raise OSError("what a page shows is run without a network")

    patch = pytest.MonkeyPatch()
    hasten(patch)
    patch.setattr(socket.socket, "connect", offline)
    patch.setattr(rules, "WIDTHS", (8,))
    patch.setattr(measured_cost, "__defaults__", (0.1,))
    patch.setattr(evaluation, "DEFAULT_SAMPLES", LEAST_SAMPLES)
    train = trainer.train

    def train_shortly(config: Any, *arguments: Any, **options: Any) -> Any:
        config = run_config.RunConfig.load(config)
        length = {"training.max_minutes": MINUTES} if config.training.max_minutes else {}
        return train(config.changed(length), *arguments, **options)

    patch.setattr(ddgan, "train", train_shortly)
    read, known = run_config.read_settings, preset_names()

    def small(source: Any) -> dict[str, Any]:
        return shrunk(read(source)) if source in known else read(source)

    patch.setattr(run_config, "read_settings", small)


def given(folder: Path) -> None:
    """Put what the pages take for granted into a folder: pictures, and a published checkpoint."""
    import numpy as np
    from PIL import Image

    import ddgan
    from ddgan.interop.conversion import save_published
    from tiny import TINY_DIGITS

    rng = np.random.default_rng(0)
    for number in range(64):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        place = folder / "photos" / ("cats" if number % 2 else "dogs") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    for name in ("painted.png", "photo.png", "mask.png"):
        Image.fromarray(rng.integers(0, 2, (32, 32), dtype=np.uint8) * 255).convert("RGB").save(folder / name)
    config = ddgan.RunConfig.from_dict(TINY_DIGITS).changed({"generator.attention_resolutions": [16]})
    generator = config.generator.build((3, 32, 32), config.conditions.shapes)
    save_published(ddgan.DDGAN(generator, config, (3, 32, 32)), folder / "netG_1200.pth")


def run_page(page: Path, folder: Path) -> int:
    """Run all blocks of a page that are to be run, in a folder and in this process, which they change.

    Returns:
        0, or 1 after an error, which is printed.
    """
    import numpy as np

    os.chdir(folder)
    sys.path.insert(0, "")
    shrink()
    given(folder)
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "images": rng.integers(0, 256, (48, 8, 8, 3), dtype=np.uint8),
        "labels": rng.integers(0, 3, 48),
    }
    for block in blocks(page):
        print(f"## {block.where}", flush=True)
        if block.mark.reason:
            continue
        todo = [*block.mark.before]
        if block.mark.file:
            (folder / block.mark.file).write_text(block.text, encoding="utf-8")
        elif block.kind == SHELL:
            todo += [command for command, reason in block.commands() if not reason]
        for command in todo:
            began = time.perf_counter()
            print(f"$ {command}", flush=True)
            code = run_command(command)
            print(f"took {time.perf_counter() - began:.1f} s", flush=True)
            if code:
                print(f"{block.where}: '{command}' ended with exit code {code}")
                return 1
        if block.kind == PYTHON and not block.mark.file:
            try:
                exec(compile(block.text, block.where, "exec"), names)
            except Exception:
                traceback.print_exc()
                print(f"{block.where}: the program failed")
                return 1
    return 0


def run_command(command: str) -> int:
    """Run a line of a shell: `ddgan` in this process, all else in a shell of its own."""
    from ddgan.cli import main

    words = shlex.split(command, comments=True)
    if words[0] != "ddgan":
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", command], env=os.environ | {"PATH": path}, check=False
        ).returncode
    file = None
    if ">" in words:
        file, words = words[words.index(">") + 1], words[: words.index(">")]
    said = io.StringIO()
    with redirect_stdout(said):
        code = main(tiny(words[1:]))
    if file is not None:
        Path(file).write_text(said.getvalue(), encoding="utf-8")
    else:
        print(said.getvalue(), end="", flush=True)
    return code


if __name__ == "__main__":
    by_reason: dict[str, list[str]] = {}
    for one in pages():
        for where, command, reason in not_run(one):
            by_reason.setdefault(reason, []).append(f"  {where}  {command}")
    for reason, found in sorted(by_reason.items()):
        print("\n".join([f"{reason}:", *found]))
