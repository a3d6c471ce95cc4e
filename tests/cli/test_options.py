"""The parser that the commands share: strict numbers, words that are one of some, complaints of one line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddgan.cli import COMMANDS, main
from ddgan.cli.options import Parser, number, one_of, settings_from, whole
from ddgan.data.decode import Preparation
from ddgan.data.preparation import Selection

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def parser() -> Parser:
    parser = Parser("paint", "Paints.")
    parser.add_argument("subject")
    parser.add_argument("--count", type=whole(1, 9))
    parser.add_argument("--width", type=number)
    parser.add_argument("--colour", type=one_of("red", "blue"))
    parser.add_argument("--framed", action="store_true")
    return parser


# --- values -------------------------------------------------------------------------------------------


@given(value=st.integers(-(2**63) + 1, 2**63 - 1))
def test_whole_numbers_are_read(value: int) -> None:
    assert whole()(str(value)) == value
    assert whole(value, value)(str(value)) == value


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read(value: float) -> None:
    assert number(repr(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "1.0",
        "1e3",
        "1_000",
        " 1",
        "1 ",
        "0x1",
        "\u00b2",
        "\u0661",
        "nan",
        "9" * 19,
        "9" * 5000,
        "--1",
    ],
)
def test_anything_else_is_no_whole_number(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"it must be a whole number$") as error:
        whole()(text)
    assert len(str(error.value)) < 120


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1_0",
        " 1",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "infinity",
        "1e999",
        "0x1",
        "1e",
        "e5",
        ".",
        "\u0661",
    ],
)
def test_anything_else_is_no_number(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"it must be a number$"):
        number(text)


def test_a_range_includes_its_ends() -> None:
    read = whole(2, 4)
    assert [read(text) for text in ("2", "+3", "4")] == [2, 3, 4]
    for text, words in (("1", "is 1; it must be at least 2"), ("5", "is 5; it must be at most 4")):
        with pytest.raises(ArgumentTypeError, match=f"^{words}$"):
            read(text)


# --- complaints ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["x", "--count", "0"], "--count is 0; it must be at least 1"),
        (["x", "--count", "many"], "--count is 'many'; it must be a whole number"),
        (["x", "--count=1.5"], "--count is '1.5'; it must be a whole number"),
        (["x", "--width", "nan"], "--width is 'nan'; it must be a number"),
        (["x", "--colour", "green"], "--colour is 'green'; it must be one of red, blue"),
        (["x", "--colour"], "--colour has no value; write --colour VALUE"),
        (["x", "--framed=1"], "--framed takes no value"),
        ([], "the following arguments are required: subject"),
        (["x", "--frame"], "--frame is not an option of 'ddgan paint'; did you mean --framed?"),
        (["x", "--color=red"], "--color=red is not an option of 'ddgan paint'; did you mean --colour?"),
        (["x", "--zebra"], "--zebra is not an option of 'ddgan paint'"),
        (["x", "y"], "y is not an option of 'ddgan paint'"),
        (["x", "-c", "3"], "-c is not an option of 'ddgan paint'"),
    ],
    ids=str,
)
def test_a_complaint_names_option_value_and_remedy(parser: Parser, arguments: list[str], line: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        parser.parse_args(arguments)
    assert str(error.value) == f"{line}; see 'ddgan paint --help'"


def test_values_may_stand_behind_a_space_or_an_equals_sign(parser: Parser) -> None:
    for form in (["--count", "3", "--width", "-2.5"], ["--count=3", "--width=-2.5"]):
        options = parser.parse_args(["x", *form, "--framed"])
        assert (options.subject, options.count, options.width, options.framed) == ("x", 3, -2.5, True)


def test_the_last_of_an_option_given_twice_counts(parser: Parser) -> None:
    assert parser.parse_args(["x", "--count", "3", "--count", "4"]).count == 4


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "edit"])
def test_options_cannot_be_shortened(command: str, tmp_path: Path, capsys: Capture) -> None:
    """So that a new option never changes what an old command line means."""
    assert main([command, str(tmp_path / "x"), "--overwrit", "--ou", "y"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--overwrit" in line or "--ou" in line or "belongs to no option" in line


# --- settings as options ----------------------------------------------------------------------------------


def options_of(arguments: list[str]) -> tuple[Any, Any]:
    parser = Parser("prepare", "")
    parser.add_settings(Preparation)
    parser.add_settings(Selection)
    options = parser.parse_args(arguments)
    return settings_from(options, Preparation), settings_from(options, Selection)


def test_the_fields_of_settings_are_options_with_their_defaults() -> None:
    assert options_of([]) == (Preparation(), Selection())
    preparation, selection = options_of(
        [
            "--size",
            "64",
            "--resize",
            "fit",
            "--channels=1",
            "--filter",
            "bilinear",
            "--split",
            "test",
            "--limit",
            "9",
        ]
    )
    assert preparation == Preparation(size=64, channels=1, resize="fit", filter="bilinear")
    assert selection == Selection(split="test", limit=9)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--size", "-1"], "--size is -1; it must be at least 0"),
        (["--size", "10001"], "--size is 10001; it must be at most 10,000"),
        (["--size", "big"], "--size is 'big'; it must be a whole number; see 'ddgan prepare --help'"),
        (["--resize", "squash"], "--resize is 'squash'; it must be one of crop or fit"),
        (["--labels", "some"], "--labels is 'some'; it must be one of auto or none"),
        (["--limit", "-5"], "--limit is -5; it must be at least 0"),
    ],
    ids=str,
)
def test_settings_as_options_are_refused_like_settings(arguments: list[str], line: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        options_of(arguments)
    assert str(error.value) == line


def test_their_help_says_what_they_take(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["prepare", "--help"]) == 0
    text = capsys.readouterr().out
    assert "(whole number from 0 to 10,000; default: 0)" in text
    assert "(one of crop, fit; default: crop)" in text
    assert "empty for the usual names\n" in text


# --- help -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([command, *(["MODEL", "inpaint"] if command == "edit" else []), "--help"]) == 0
    text = capsys.readouterr().out
    lines = text[text.index("\noptions:\n") :].partition("\n\n")[0].splitlines()[2:]
    options = [place for place, line in enumerate(lines) if line.startswith("  -")]
    assert options
    for place in options:
        _, _, words = lines[place].strip().partition("  ")
        assert words.strip() or lines[place + 1].startswith("        "), lines[place]
    assert "--import PACKAGE" in text
