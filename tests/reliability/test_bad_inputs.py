"""Bad input to every command and to the Python API: one line that names it, quickly, and without much memory.

Settings come from the schema of a configuration: a wrong type, a broken range, a value that no machine can
serve, nesting without end. Options of commands and arguments of functions come from lists.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.cli import main
from ddgan.config.overrides import dotted
from ddgan.config.presets import preset_names

SECONDS, WAITED = 10, 120
"""No bad input may take longer: processor time, and by the clock, which other processes share."""
GIGABYTE = 2**30
COUNTS: dict[str, int] = {}
"""How many bad inputs were refused, by where they were given."""
JUNK = [
    *("", " ", "x", "nan", "-nan", "inf", "1e400", "-1", "0", "0.0", "1.5", "true", "null", "~", "[]", "{}"),
    *(
        "[1, 2, 3]",
        "{kind: x}",
        "{kind: [1]}",
        "&a [*a]",
        "!!python/object:os.system {}",
        "\u202e\u0000",
        "\ud800",
    ),
    *("9" * 30, "-" + "9" * 30, "9" * 5000, "1e14", "1_000", "0x10", "1,000", "x" * 100_000, "[" * 100_000),
    "{a: " * 2000 + "1" + "}" * 2000,
    "*".join(f"&a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 9)),
]
"""Texts for any option."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Within the block, fail after ten seconds, or with more than a gigabyte."""

    def late(number: int, frame: object) -> None:
        raise AssertionError(f"it took more than {SECONDS if number == signal.SIGPROF else WAITED} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handlers = {number: signal.signal(number, late) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITED)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < GIGABYTE, f"it took {grown / GIGABYTE:.1f} GiB"


def counted(where: str) -> None:
    COUNTS[where] = COUNTS.get(where, 0) + 1


def typed(where: str, arguments: list[str]) -> None:
    """Type a command that must be refused in one line."""
    said = io.StringIO()
    with bounded(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    lines = said.getvalue().splitlines()
    shown = [argument[:80] for argument in arguments]
    assert code in (1, 2), (code, shown, lines)
    assert len(lines) == 1, (shown, lines)
    assert len(lines[0]) <= 2000, shown
    assert "Traceback" not in lines[0]
    assert "internal error" not in lines[0], (shown, lines)
    counted(where)


def raises(where: str, call: Callable[[], object], *others: type[BaseException]) -> None:
    """Call a function that must refuse its arguments, with a message of one line."""
    with bounded(), pytest.raises((ValueError, *others)) as refusal:
        call()
    message = str(refusal.value)
    assert message
    assert "\n" not in message, message
    counted(where)


@pytest.fixture(scope="module", autouse=True)
def shown_counts() -> Iterator[None]:
    yield
    for where, count in sorted(COUNTS.items()):
        print(f"{where:<28} {count:>5} bad inputs refused")


# --- settings, from their schema ---------------------------------------------------------------------


LEAVES = sorted(
    {(preset, name) for preset in preset_names() for name in dict(dotted(RunConfig.load(preset).to_dict()))}
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [math.nan, math.inf, -math.inf, -1, 0, -0.5, 10**14, 10**30, 1e300, True, None, b"x", 1j]
    ),
    st.sampled_from([[], {}, [[]], {"kind": "x"}, {"kind": []}, {1: 2}, "x", "", object, np.zeros(3)]),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=20),
    st.recursive(st.none() | st.integers(), lambda part: st.lists(part, max_size=3), max_leaves=10),
)


def check_settings(data: st.DataObject, folder: Path) -> None:
    preset, name = data.draw(st.sampled_from(LEAVES))
    base = RunConfig.load(preset)
    value = data.draw(VALUES)
    try:
        with bounded():
            base.changed({name: value})
    except ValueError:
        raises("settings in Python", lambda: base.changed({name: value}))
    text = data.draw(st.sampled_from(JUNK) | st.text(max_size=20))
    assume(not text.startswith("--") and text)
    try:
        with bounded():
            parsed = ddgan.config.overrides.parsed(text, name, base)  # type: ignore[attr-defined]
            base.changed({name: parsed})
    except ValueError:
        typed(
            "settings on the command line",
            ["train", "--preset", preset, f"--{name}={text}", "--print_config"],
        )
    file = folder / "config.yaml"
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(name.split("."))]
    with contextlib.suppress(UnicodeEncodeError):
        file.write_text("\n".join(lines) + " " + text, encoding="utf-8")
        try:
            with bounded():
                RunConfig.load(file)
        except ValueError:
            typed("settings in YAML", ["train", "--config", str(file), "--print_config"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_settings_are_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    check_settings(data, tmp_path_factory.mktemp("settings"))


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_more_settings_are_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_settings(data, Path(folder))


LARGEST = [
    ("diffusion.num_steps", 10**6),
    ("generator.num_blocks", 10**9),
    ("generator.hidden_features", 10**9),
    ("training.batch_size", 10**14),
    ("training.batch_size", 1_000_000),
    ("training.accumulation", 10**14),
    ("training.score_samples", 10**14),
    ("training.held_out", 10**14),
    ("method.discriminators.pair.base_channels", 10**9),
    ("method.discriminators.pair.base_channels", 4096),
]


@pytest.mark.parametrize(("name", "value"), LARGEST, ids=str)
def test_what_no_machine_can_serve_is_refused(name: str, value: int, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run"), "--training.num_iterations", "1"]
    if name == "training.batch_size" and value == 1_000_000:
        out += ["--method.discriminators.pair.base_channels", "512"]
    typed("sizes without end", ["train", "--preset", "digits_quick", f"--{name}", str(value), *out])
    assert not (tmp_path / "run").exists()


# --- commands ----------------------------------------------------------------------------------------


WHOLE = ("-1", "1.5", "x", "", "nan", "1e99", "9" * 5000, "\ud800")
PATHS = ("", "nowhere", "nowhere/x.npz", "\x00", "x" * 5000, "/dev/null", "/proc/self/mem")
COMMANDS: dict[str, tuple[list[str], dict[str, tuple[str, ...]]]] = {
    "sample": (
        ["sample", "RUN", "--out", "OUT.npz"],
        {
            "-n": (*WHOLE, "0", str(10**12)),
            "--seed": WHOLE,
            "--batch_size": (*WHOLE, "0"),
            "--class": ("0", *WHOLE),
            "--device": ("x", "", "cuda:99"),
            "--compile": ("x", ""),
            "--out": ("", "x.jpg", "x.PNG", "\x00.npz", "RUN"),
            "--ema": ("x", "-1", "nan", "0.123"),
        },
    ),
    "edit": (
        ["edit", "RUN", "variations", "--image", "IMAGE", "--out", "OUT.png"],
        {
            "-n": (*WHOLE, "0", str(10**12)),
            "--strength": (*WHOLE, "99"),
            "--image": PATHS,
            "--class": ("0", *WHOLE),
            "--out": ("", "x.jpg", "RUN"),
        },
    ),
    "inpaint": (
        ["edit", "RUN", "inpaint", "--image", "IMAGE", "--mask", "IMAGE", "--out", "OUT.png"],
        {"--rounds": (*WHOLE, "0", str(10**9)), "--mask": PATHS, "--seed": WHOLE},
    ),
    "interpolate": (
        ["edit", "RUN", "interpolate", "--out", "OUT.png"],
        {"--frames": (*WHOLE, "0", "1", str(10**12)), "--to_seed": WHOLE, "-n": (*WHOLE, str(10**12))},
    ),
    "evaluate": (
        ["evaluate", "RUN", "-n", "20", "--metrics", "frechet", "--features", "pixels"],
        {
            "-n": (*WHOLE, "0", "1", str(10**14)),
            "--data": PATHS,
            "--metrics": ("x", "", "frechet,kernel"),
            "--features": ("x", "", "nowhere.pt"),
            "--split": ("x", ""),
            "--held_out": ("nowhere",),
            "--out": ("", "RUN", "\x00"),
        },
    ),
    "average": (
        ["average", "RUN", "--lengths", "0.1", "--out", "OUT.safetensors"],
        {
            "--lengths": ("x", "", "0", "-1", "nan", "0.29", "1e-9"),
            "--step": (*WHOLE, "0", "1"),
            "-n": (*WHOLE, "0"),
            "--out": ("", "x.png", "RUN", "\x00"),
        },
    ),
    "export": (
        ["export", "RUN", "--to", "diffusers", "--out", "OUT"],
        {
            "--to": ("x", ""),
            "--out": ("", "RUN", "x.onnx", "\x00"),
            "--ema": ("x", "-1", "0.123"),
            "--license": ("", " "),
            "--precision": ("x", "", "int8"),
            "--score_samples": (*WHOLE, "0"),
        },
    ),
    "convert": (
        ["convert", "FILE", "--out", "OUT.safetensors"],
        {"--to": ("x", ""), "--preset": PATHS, "--num_steps": (*WHOLE, "0"), "--out": ("", "x.pt", "RUN")},
    ),
    "prepare": (
        ["prepare", "IMAGES", "--size", "8", "--out", "OUT"],
        {
            "--size": (*WHOLE, str(10**9)),
            "--channels": ("x", "-1", "99"),
            "--resize": ("x", ""),
            "--workers": ("-1", "x"),
            "--limit": ("-1", "x", "9" * 5000),
            "--split": ("x",),
            "--out": ("", "RUN", "\x00"),
        },
    ),
    "reproduce": (
        ["reproduce", "gaussians", "--scale", "smoke", "--out", "OUT"],
        {"--scale": ("x", ""), "--seeds": ("-1", "x", ""), "--names": ("x",)},
    ),
    "train": (
        ["train", "--preset", "digits_quick", "--out", "OUT"],
        {
            "--preset": ("x", "", "\x00", "x" * 5000),
            "--config": PATHS,
            "--data": ("", "nowhere", "\x00"),
            "--size": WHOLE,
            "--init": PATHS,
            "--license": ("", " "),
            "--resume": PATHS,
            "--import": ("", "nowhere", "x.py", "\x00"),
        },
    ),
}
CASES = [
    (command, option, value)
    for command, (_, options) in COMMANDS.items()
    for option, values in options.items()
    for value in values
]
EVERY = 6
"""Of the default run, one case in so many."""


def replaced(base: list[str], option: str, value: str) -> list[str]:
    """The command with this value of an option."""
    if option not in base:
        return [*base, option, value]
    place = base.index(option) + 1
    return [*base[:place], value, *base[place + 1 :]]


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        pytest.param(*case, marks=() if number % EVERY == 0 else pytest.mark.slow, id=ascii(case)[:80])
        for number, case in enumerate(CASES)
    ],
)
def test_options_are_refused(command: str, option: str, value: str, tiny_run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    for index, image in enumerate(noise):
        ddgan.system.images.save_png(image, tmp_path / "images" / f"{index}.png")  # type: ignore[attr-defined]
    (tmp_path / "file.pth").write_bytes(b"not a checkpoint")
    places = {
        "RUN": str(tiny_run.path),
        "IMAGE": str(tmp_path / "images" / "0.png"),
        "IMAGES": str(tmp_path / "images"),
        "FILE": str(tmp_path / "file.pth"),
        "OUT": str(tmp_path / "out"),
    }
    arguments = replaced(COMMANDS[command][0], option, value)
    if value in ("x.jpg", "x.PNG", "x.onnx", "x.pt"):
        arguments = [str(tmp_path / word) if word == value else word for word in arguments]
    typed(
        command,
        [
            places.get(word.split(".")[0], word) + word[len(word.split(".")[0]) :]
            if word.split(".")[0] in places
            else word
            for word in arguments
        ],
    )
    assert not (tmp_path / "out").exists()


# --- the Python API ----------------------------------------------------------------------------------


def calls(model: DDGAN, run: Path) -> dict[str, Callable[[], object]]:
    """Calls with wrong arguments, by what is wrong."""
    found: dict[str, Callable[[], object]] = {}
    for n in (0, -1, 10**14, 1.5, math.nan, "x", None, [3]):
        found[f"sample n={n!r}"] = lambda n=n: model.sample(n)  # type: ignore[misc]
    for seed in (-1, 1.5, math.nan, "x", None, True):
        found[f"sample seed={str(seed)[:9]}"] = lambda seed=seed: model.sample(1, seed)  # type: ignore[misc]
    for size in (0, -1, 1.5, "x"):
        found[f"batch_size={size!r}"] = lambda size=size: model.sample(1, 0, size)  # type: ignore[misc]
    for classes in (0, [0], "x", -1):
        found[f"classes={classes!r}"] = lambda c=classes: model.sample(1, classes=c)  # type: ignore[misc]
    for output in ("x", "", None, 1):
        found[f"output={output!r}"] = lambda o=output: model.sample(1, output=o)  # type: ignore[misc]
    for source in ("nowhere", "", "a/b/c", str(run / "config.yaml"), run.parent, "\x00", "x" * 5000):
        found[f"load {str(source)[:20]!a}"] = lambda s=source: ddgan.load(s)  # type: ignore[misc]
    for ema in (-1.0, 0.123, math.nan):
        found[f"load ema={ema}"] = lambda e=ema: ddgan.load(run, ema=e)  # type: ignore[misc]
    for data in (
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((4, 8, 8, 3), object),
        np.full((4, 8, 8, 3), np.nan),
        np.zeros(7),
        torch.zeros(4, 3, 8, 8) + 300,
        (np.zeros((4, 8, 8, 3), np.uint8), [0, 1]),
        [],
        {},
        object(),
        3,
    ):
        name = f"train data={type(data).__name__} {getattr(data, 'shape', '')}"
        found[f"{name} {len(found)}"] = lambda d=data: ddgan.train(  # type: ignore[misc]
            "digits_quick", run.parent / "never", data=d, verbose=False, **{"training.num_iterations": 1}
        )
    for config in ("nowhere", "", {}, None, 3, "digits_quick.yaml"):
        found[f"train config={config!r}"] = lambda c=config: ddgan.train(  # type: ignore[misc]
            c, run.parent / "never", verbose=False
        )
    for samples in (
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros(5),
        np.full((4, 8, 8, 3), np.nan),
        3,
        None,
        object(),
    ):
        found[f"evaluate {type(samples).__name__} {len(found)}"] = lambda s=samples: ddgan.evaluate(  # type: ignore[misc]
            s, "digits", ["frechet"], features="pixels"
        )
    for metrics in (["x"], "frechet, kernel", [3], []):
        found[f"evaluate metrics={metrics}"] = lambda m=metrics: ddgan.evaluate(model, "digits", m)  # type: ignore[misc]
    return found


def test_calls_are_refused(tiny_run: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for file in tiny_run.path.glob("*.*"):
        (run / file.name).write_bytes(file.read_bytes())
    for name, call in calls(tiny_run.model, run).items():
        try:
            raises("calls from Python", call, TypeError)
        except (Exception, pytest.fail.Exception) as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "&a [*a]",
        "a: &a [x, x]\nb: &b [*a, *a]\n" * 3,
        "\x00",
        "- " * 50_000,
    ],
    ids=lambda text: ascii(text[:10]),
)
def test_hostile_yaml_and_json_are_refused(text: str, tiny_run: Run, tmp_path: Path) -> None:
    for name in ("x.yaml", "x.json"):
        (tmp_path / name).write_text(text)
    typed("hostile files", ["train", "--config", str(tmp_path / "x.yaml"), "--out", str(tmp_path / "run")])
    files = [str(tmp_path / "x.json")] * 2
    typed("hostile files", ["evaluate", "--compare", *files, "--out", str(tmp_path / "x.html")])
    nested = json.dumps(text)
    typed(
        "hostile files", ["train", "--preset", "digits_quick", "--method.penalties", nested, "--print_config"]
    )
