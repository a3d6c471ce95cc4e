"""How commands end that nobody wished for: internal errors, no memory, Ctrl-C, output that nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ddgan
from ddgan.cli import COMMANDS, export, main
from ddgan.cli.internal_error import PREFIX
from ddgan.system.processes import TrainingError

Capture = pytest.CaptureFixture[str]

BUGS: list[BaseException] = [
    RuntimeError("shapes\ndo not fit"),
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 24000000000000 bytes"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
    RecursionError("maximum recursion depth exceeded"),
    TypeError("'int' object is not callable"),
    IndexError("list index out of range"),
    KeyError("x"),
    OverflowError("int too large"),
    ZeroDivisionError("division by zero"),
    AttributeError("no such attribute"),
    AssertionError(),
    NotImplementedError("later"),
    StopIteration(),
]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[BaseException], int]:
    """Runs `ddgan export RUN --to onnx`, which raises what is given; what it writes goes to `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def ended(error: BaseException) -> int:
        def run(arguments: list[str]) -> int:
            assert arguments == ["RUN", "--to", "onnx"]
            raise error

        monkeypatch.setattr(export, "run", run)
        return main(["export", "RUN", "--to", "onnx"])

    return ended


@pytest.mark.parametrize("bug", BUGS, ids=repr)
def test_an_internal_error_is_one_line_and_a_file_with_the_rest(
    bug: BaseException, ending: Callable[[BaseException], int], tmp_path: Path, capsys: Capture
) -> None:
    assert ending(bug) == 70
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    (file,) = tmp_path.iterdir()
    assert said.out == ""
    assert line.startswith(f"ddgan: internal error of ddgan {ddgan.__version__} ({type(bug).__name__}")
    assert line.endswith(f"its details are in {file}; please report it with that file")
    lacks = isinstance(bug, MemoryError | torch.OutOfMemoryError) or "alloc" in str(bug).lower()
    assert ("try a smaller batch size" in line) == lacks
    assert file.name.startswith(PREFIX)
    assert file.suffix == ".txt"
    details = file.read_text()
    assert "command: ddgan export RUN --to onnx\n" in details
    assert f"torch {torch.__version__}" in details
    assert "Traceback (most recent call last)" in details
    assert "in run" in details  # the function that raised it
    assert type(bug).__name__ in details


def test_a_long_error_is_cut_in_the_line_and_whole_in_the_file(
    ending: Callable[[BaseException], int], tmp_path: Path, capsys: Capture
) -> None:
    assert ending(RuntimeError("word " * 500)) == 70
    assert len(capsys.readouterr().err) < 500
    (file,) = tmp_path.iterdir()
    assert "word " * 500 in file.read_text()


def test_where_no_file_can_be_written_the_line_is_all(
    ending: Callable[[BaseException], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert ending(RuntimeError("odd")) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "(RuntimeError: odd): its details could not be written" in line
    assert "; please report this line: raised in __init__.py:" in line
    assert line.endswith(" (run)")  # the function that raised it


def test_a_full_disk_leaves_no_torn_file_of_details(
    ending: Callable[[BaseException], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    handles: list[int] = []

    def on_a_full_disk(prefix: str, suffix: str) -> tuple[int, str]:
        name = tmp_path / f"{prefix}{suffix}"
        name.touch()
        handles.append(os.open("/dev/full", os.O_WRONLY))
        return handles[0], str(name)

    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setattr(tempfile, "mkstemp", on_a_full_disk)
    assert ending(RuntimeError("odd")) == 70
    assert "could not be written ([Errno 28] No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_if_even_the_explanation_fails_it_is_one_line(
    ending: Callable[[BaseException], int], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def no_memory(*_: object) -> str:
        raise MemoryError

    monkeypatch.setattr("ddgan.cli.internal_error.explain", no_memory)
    assert ending(IndexError("9")) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "(IndexError: 9); its details could not be written (MemoryError)" in line


def test_a_refusal_of_a_huge_argument_is_cut(capsys: Capture) -> None:
    assert main(["train", "--preset", "digits", f"--training.{'a' * 100_000}", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ddgan: ")
    assert len(line) <= 2000


def test_a_package_that_exits_with_a_message_is_refused(
    ending: Callable[[BaseException], int], capsys: Capture
) -> None:
    assert ending(SystemExit("not today")) == 2  # type: ignore[arg-type]
    assert capsys.readouterr().err == "ddgan: not today\n"
    assert [ending(SystemExit(code)) for code in (None, 0, 3)] == [0, 0, 3]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("x is 1;\n it must be 2"), 2, "ddgan: x is 1; it must be 2"),
        (TrainingError("no gradient\nis finite"), 1, "ddgan: no gradient is finite"),
        (FileNotFoundError(2, "No such file", "a b"), 1, "ddgan: [Errno 2] No such file: 'a b'"),
        (BrokenPipeError("a worker is gone"), 1, "ddgan: a worker is gone"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=repr,
)
def test_what_is_no_internal_error_has_a_code_of_its_own(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    ending: Callable[[BaseException], int],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    monkeypatch.setattr("ddgan.cli._nobody_reads", lambda: False)
    assert ending(error) == code
    assert capsys.readouterr().err == f"{line}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_answered_with_what_may_have_been_meant(capsys: Capture) -> None:
    for given, hint in (("trian", "did you mean train? "), ("paint", "")):
        assert main([given, "--out", "x"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"ddgan: unknown command '{given}'; {hint}the commands are {', '.join(COMMANDS)}"


def test_output_that_nobody_reads_on_is_no_error() -> None:
    """As with `ddgan train --print_schema | head -1`, whose pipe is closed early."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "ddgan", "train", "--print_schema"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert process.stderr == ""
    assert process.returncode == 141


def ended(command: str) -> tuple[int, str]:
    """The exit code and standard error of a command in a shell; `ddgan` is that of this tree."""
    shell = f'ddgan() {{ "{sys.executable}" -m ddgan "$@"; }}; {command}'
    process = subprocess.run(["bash", "-c", shell], stderr=subprocess.PIPE, text=True, check=False)
    return process.returncode, process.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ddgan --help > /dev/full", 1),
        ("ddgan --version > /dev/full", 1),
        ("ddgan sample --help > /dev/full", 0),  # argparse ignores it
        ("ddgan --help >&-", 0),
        ("ddgan paint 2> /dev/full", 2),
        ("ddgan paint 2>&-", 2),
        ("ddgan paint >&- 2>&-", 2),
        ("ddgan paint $'\\xff\\xfe'", 2),
        ("PYTHONIOENCODING=ascii ddgan sample $'é\\xff'", 2),
    ],
)
def test_streams_that_are_closed_full_or_narrow_are_no_traceback(command: str, code: int) -> None:
    found, said = ended(command)
    assert found == code
    assert len(said.splitlines()) <= 1, said
    assert "Traceback" not in said
    assert "Exception" not in said


def test_ctrl_c_at_any_moment_of_the_start_is_no_traceback() -> None:
    """From the first line of `main` on, whatever is being imported then."""
    begin = "import sys, ddgan.__main__; sys.argv[1:] = ['sample', 'nothing']; print(flush=True)"
    command = [sys.executable, "-c", f"{begin}; sys.exit(ddgan.__main__.main())"]
    for wait in (0.05, 0.4, 1.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert "Traceback" not in said
        assert (process.returncode, said) == (130, "interrupted\n") or process.returncode == 2  # it was over


def test_ctrl_c_while_a_command_is_imported(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(name: str) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("ddgan.cli.import_module", interrupted)
    assert main(["sample", "RUN"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


# --- packages of users --------------------------------------------------------------------------------


def test_the_name_of_a_file_is_not_that_of_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--import", "my_losses.py", "--preset", "digits", "--print_config"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "ddgan: --import is 'my_losses.py'; give the name of the module, without .py"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("form", [["--import", "no_such_package"], ["--import=no_such_package"]], ids=str)
def test_a_package_that_is_not_there_is_one_line_for_every_command(
    command: str, form: list[str], capsys: Capture
) -> None:
    assert main([command, *form, "X"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "ddgan: --import no_such_package failed: No module named 'no_such_package'; it must be in the "
        "current folder, installed, or on PYTHONPATH"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import no_such_other", "No module named 'no_such_other'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise ValueError('of its own')", "of its own"),
    ],
)
def test_a_package_that_cannot_be_imported_is_one_line(
    content: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "broken_package.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_package", raising=False)
    assert main(["train", "--import", "broken_package", "--print_config", "--preset", "digits"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--import broken_package failed: " in line
    assert words in line


def test_several_packages_are_imported_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for name in ("first_package", "second_package"):
        (tmp_path / f"{name}.py").write_text("")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    arguments = [
        "--import=first_package",
        "--preset",
        "digits",
        "--print_config",
        "--import",
        "second_package",
    ]
    assert main(["train", *arguments]) == 0
    assert {"first_package", "second_package"} <= sys.modules.keys()
    assert capsys.readouterr().out.startswith("data:")


def test_import_without_a_name(capsys: Capture) -> None:
    assert main(["sample", "RUN", "--import"]) == 2
    assert capsys.readouterr().err == "ddgan: --import has no value; give it the name of a package\n"
