"""Text from others is read where it is shown, and never acts there: terminals, Markdown, Python."""

from __future__ import annotations

import ast
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ddgan.system.text import aligned, fenced, markdown, one_line, printable, python_string

ANY = st.text(st.characters(), max_size=40)
"""Any characters, also lone surrogates."""
SYNTAX = st.text(st.sampled_from(" abc_19*`~[](){}<>#!|\\-+=.&;:$\n\"'/"), max_size=40)
"""Text of the characters that mean something in Markdown."""
RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert aligned([["a", "bc", "d"], ["efg", "", ""]]) == ["a    bc  d", "efg"]


@given(ANY)
def test_nothing_that_is_printed_acts_on_a_terminal(text: str) -> None:
    line = one_line(text)
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b")
    assert one_line(line) == line
    line.encode("utf-8")


def test_escapes_are_shown_and_words_are_kept() -> None:
    assert one_line("\x1b[31mred\x07\n  end\u202e") == r"\x1b[31mred\x07 end\u202e"
    assert one_line("a\rb\x00\x9b2J") == r"a b\x00\x9b2J"
    assert printable("two\n\tlines\x1b") == "two\n\tlines\\x1b"
    for kept in ("Größe 中文 日本", "👩\u200d🚀", "क\u200dष", "C:\\dir", "'a' \"b\""):
        assert one_line(kept) == printable(kept) == kept


@given(ANY)
def test_a_python_string_is_the_text_in_one_line(text: str) -> None:
    code = python_string(text)
    assert ast.literal_eval(code) == text
    assert code.isprintable()
    assert code[0] == code[-1] == '"'


def test_a_python_string_of_a_plain_name_is_plain() -> None:
    assert python_string("me/digits") == '"me/digits"'


@given(ANY | SYNTAX)
def test_markdown_is_rendered_as_the_text(text: str) -> None:
    (paragraph,) = re.findall(r"\A(?:<p>(.*)</p>\n)?\Z", RENDERER.render(markdown(text)), re.S)
    assert paragraph.strip() == plain(text)


@given(ANY | SYNTAX)
def test_markdown_in_a_table_stays_in_its_cell(text: str) -> None:
    rendered = RENDERER.render(f"| | |\n|---|---|\n| x | {markdown(text)} |\n")
    assert re.findall("<td>(.*?)</td>", rendered, re.S) == ["x", plain(text)]


def plain(text: str) -> str:
    """The HTML of the text alone."""
    line = one_line(text)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@pytest.mark.parametrize(
    "text", ["images_per_second", "digits 8 x 8, -0.5", "vp, beta_min 0.1", "N = 3", "for cats only: (c) 1.0"]
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert markdown(text) == text


def test_addresses_become_links_that_end_with_the_address() -> None:
    address = "https://example.org/_a_*b/~c_?d=e&f#g_"
    assert markdown("https://example.org/_a_/~c_?d=e#g_") == "<https://example.org/_a_/~c_?d=e#g_>"
    assert markdown("(see http://x.org/a.)") == "(see <http://x.org/a>.)"
    rendered = RENDERER.render(markdown(f"x]({address})[y](javascript:z) <{address}|>"))
    assert set(re.findall('href="(.*?)"', rendered)) == {"https://example.org/_a_"}
    assert "&lt;" in rendered


@given(ANY | st.text(st.sampled_from("`~a \n"), max_size=60))
def test_no_line_of_code_ends_its_block(text: str) -> None:
    code = "\n".join(printable(text).splitlines())
    (block,) = (token for token in RENDERER.parse(fenced(code, "yaml")) if token.level == 0)
    assert (block.type, block.info) == ("fence", "yaml")
    assert block.content.rstrip() == code.rstrip()
