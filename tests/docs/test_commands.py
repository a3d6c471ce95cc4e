"""Every command and program of README.md and docs/ is run, or says why not; see `documented`."""

from __future__ import annotations

import itertools
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

import documented
from ddgan.cli import COMMANDS, main
from ddgan.config.presets import preset_names
from documented import ROOT, MarkError, blocks, ddgan_arguments, lines, name_of, not_run, pages
from forked import forked
from tiny import shrunk

OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*(?![\w.-])")


def has_runnable(page: Path) -> bool:
    return any(not block.mark.reason for block in blocks(page))


RUNNABLE = [page for page in pages() if has_runnable(page)]
NOT_RUN = [(where, command) for page in pages() for where, command, _ in not_run(page)]


@pytest.mark.usefixtures("judge")  # the classifier of digits, which is then in the cache
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_what_a_page_shows_runs(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    process = forked(tmp_path / "said.txt", documented.run_page, page, folder)
    said = process.ended(1800)  # a minute where nothing else runs
    assert process.code == 0, said[-3000:]


def test_most_commands_are_run() -> None:
    """So that a page does not become a list of excuses; results are records of long work."""
    shown = [(block, command) for page in pages() for block in blocks(page) for command in block.commands()]
    here = [found for block, found in shown if "docs/results" not in block.where and block.kind == "shell"]
    assert len(here) > 80
    assert sum(not reason for _, reason in here) / len(here) > 0.6


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_are_in_fences(page: Path) -> None:
    """An indented block is no fence, and would be shown without having been looked at."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"\n\n    (?:ddgan|python|pytest|make|pip|\$) .*", text) == []


@cache
def help_of(*command: str) -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return said.getvalue()


@pytest.mark.parametrize(("where", "command"), NOT_RUN, ids=[f"{where} {what}" for where, what in NOT_RUN])
def test_what_is_not_run_names_what_exists(
    where: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options, presets, settings, files, targets of make: what can be told without running it."""
    if (arguments := ddgan_arguments(command) if "<<" not in command else None) is None:
        words = command.split()
        for module in re.findall(r"python -m (benchmarks\.\w+)", command):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
        for path in re.findall(
            r"(?:python|pytest)(?: -m \"[^\"]*\")? ((?:docs|tests|examples)/[\w./]+)", command
        ):
            assert (ROOT / path).exists()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return
    assert arguments[0] in COMMANDS, where
    given = {word.partition("=")[0] for word in arguments if OPTION.fullmatch(word.partition("=")[0])}
    dotted = {word for word in arguments if word.startswith("--") and "." in word}
    for option in given - dotted - {"--import"}:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", help_of(*subcommand(arguments))), option
    named = [value for option, value in itertools.pairwise(arguments) if option == "--preset"]
    assert {*named} <= {*preset_names(), "PRESET"}
    if dotted:
        settings = [word for pair in itertools.pairwise(arguments) if pair[0] in dotted for word in pair]
        assert main(["train", "--preset", *named, *settings, "--print_config"]) == 0, capsys.readouterr().err


def subcommand(arguments: list[str]) -> list[str]:
    return [*arguments[:1], "MODEL", arguments[2]] if arguments[0] == "edit" else arguments[:1]


# The checker itself


def page_of(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize("language", ["", "bash", "python"])
def test_a_block_without_a_mark_is_refused(language: str, tmp_path: Path) -> None:
    with pytest.raises(MarkError, match=r"page\.md:3: the block has no mark"):
        blocks(page_of(tmp_path, f"Text.\n\n```{language}\nddgan list\n```\n"))


def test_other_languages_need_no_mark(tmp_path: Path) -> None:
    assert blocks(page_of(tmp_path, "```yaml\na: 1\n```\n\n<!-- a remark -->\n```text\nout\n```\n")) == []


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("run it", "'run it' means nothing"),
        ("not run", "'not run' means nothing"),
        ("run by tests/no_such_test.py", "there is no tests/no_such_test.py"),
        ("run\nbefor ddgan list", "'befor ddgan list', which means nothing"),
        ("run\nnot torchrun", "'not torchrun', which means nothing"),
        ("run\nnot torchrun: needs GPUs", "no line of the block has 'torchrun'"),
    ],
)
def test_marks_that_mean_nothing_are_refused(mark: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(MarkError, match=words):
        blocks(page_of(tmp_path, f"<!-- {mark} -->\n```bash\nddgan list\n```\n"))


@pytest.mark.parametrize("after", ["Text.\n\n```bash\nddgan list\n```", "<!-- run -->", "```yaml\na: 1\n```"])
def test_a_mark_is_for_the_next_block(after: str, tmp_path: Path) -> None:
    with pytest.raises(MarkError):
        blocks(page_of(tmp_path, f"<!-- run -->\n{after}\n"))


def test_marks_are_read(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        "<!-- run\nbefore ddgan train --out a\nnot torchrun: needs GPUs\n-->\n    ```bash\n    # a remark\n"
        "    ddgan sample a \\\n        -n 3  # three\n    torchrun x\n    ```\n\n"
        "<!-- run as x.py -->\n```python\nimport a\n```\n\n"
        "<!-- not run: takes\nhours -->\n```\nddgan list\n```\n",
    )
    first, second, third = blocks(page)
    assert list(first.commands()) == [("ddgan sample a -n 3  # three", ""), ("torchrun x", "needs GPUs")]
    assert first.mark.before == ("ddgan train --out a",)
    assert (second.kind, second.text, second.mark.file) == ("python", "import a\n", "x.py")
    assert list(not_run(page)) == [
        ("page.md:5", "torchrun x", "needs GPUs"),
        ("page.md:19", "ddgan list", "takes hours"),
    ]
    assert third.mark.reason == "takes hours"


def test_a_page_may_say_it_once(tmp_path: Path) -> None:
    page = page_of(
        tmp_path, "# A\n\n<!-- nothing on this page is run: hours\neach -->\n\n```bash\nmake it\n```\n"
    )
    assert list(not_run(page)) == [("page.md:6", "make it", "hours each")]


def test_a_page_that_fails_says_where(tmp_path: Path) -> None:
    for text, words in (
        (
            "```bash\nddgan sample nothing --out a.png\n```",
            "page.md:2: 'ddgan sample nothing --out a.png' ended",
        ),
        ("```python\n1 / 0\n```", "page.md:2: the program failed"),
    ):
        folder = tmp_path / "here"
        folder.mkdir(exist_ok=True)
        page = page_of(tmp_path, f"<!-- run -->\n{text}\n")
        process = forked(tmp_path / "said.txt", documented.run_page, page, folder)
        assert words in process.ended(120)
        assert process.code == 1


def test_commands_are_found_behind_launchers() -> None:
    assert ddgan_arguments("torchrun --nproc-per-node 8 -m ddgan train --out x") == ["train", "--out", "x"]
    assert ddgan_arguments("ddgan list  # all") == ["list"]
    assert ddgan_arguments("make test") is None
    assert lines("a b \\\n  c\n\n# only a remark\nd 'e # f'  # g\n") == ["a b c", "d 'e # f'  # g"]


def test_numbers_become_small() -> None:
    def tiny(command: str) -> str:
        return shlex.join(documented.tiny(shlex.split(command)))

    assert tiny("sample a -n 50000 --out x") == "sample a -n 24 --out x"
    assert tiny("evaluate a -n 50000") == "evaluate a -n 60"
    assert tiny("train --resume a --minutes 60") == "train --resume a --minutes 0.005"
    assert tiny("train --resume a --training.num_iterations 9000").endswith(" 200")
    assert tiny("plan --data photos/ --minutes 60") == "plan --data photos/ --minutes 60"
    assert "--training.num_iterations 4" in tiny("train --data photos/ --out a")
    assert tiny("train --preset digits --training.num_iterations 9000") == (
        "train --preset digits --training.num_iterations 8"
    )


@pytest.mark.parametrize("name", preset_names())
def test_presets_become_small_and_stay_valid(name: str) -> None:
    from ddgan import RunConfig
    from ddgan.config.presets import read_settings

    before = RunConfig.from_dict(read_settings(name))
    config = RunConfig.from_dict(shrunk(read_settings(name)))
    assert config.method.kind == before.method.kind
    assert config.training.num_iterations == 4
    assert (before.generator.kind, before.data) == (config.generator.kind, config.data)
