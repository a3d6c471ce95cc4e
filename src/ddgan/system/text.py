"""Text from files and other programs, made safe for where it is shown: a terminal, Markdown, Python code.

Names, licences and settings may come from a file that anyone wrote. Here they become text that is read, and
never a command to a terminal, HTML, Markdown syntax or code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["URL", "aligned", "fenced", "markdown", "one_line", "printable", "python_string"]

URL = re.compile(r"https?://[A-Za-z0-9_\-./?=%:@+#&~]*[A-Za-z0-9_\-/=#]")
"""A web address of ordinary characters; `markdown` makes it a link."""
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: control, format (such as reversed direction), surrogate, line and paragraph breaks."""
JOINERS = "\u200c\u200d"
"""Format characters that belong to the spelling of some languages, and to emoji."""
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def one_line(text: object) -> str:
    """Return text, such as an error message, `printable` and without line breaks."""
    return printable(" ".join(str(text).split()))


def printable(text: object) -> str:
    r"""Return text with escapes such as \x1b for characters that act on a terminal instead of being shown.

    Line breaks and tabs are kept.
    """
    return "".join(_escaped(c) if _is_unprintable(c) else c for c in str(text))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: columns as wide as their longest cell, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def python_string(text: str) -> str:
    """Return Python code of one line for a string, in double quotes."""
    marked = ("\\" + c if c in '"\\' else c for c in text)
    return '"' + "".join(_escaped(c) if not c.isprintable() else c for c in marked) + '"'


def markdown(text: object) -> str:
    """Return text as one line of Markdown that is shown as it is, also in a table; addresses become links."""
    line, done, parts = one_line(text), 0, []
    for address in URL.finditer(line):
        parts += [_literal(line[done : address.start()]), f"<{address.group()}>"]
        done = address.end()
    escaped = "".join([*parts, _literal(line[done:])])
    # At the start of a line, these would begin a list or underline a heading.
    return re.sub(r"^(?:([-+=])(?=[-=\s]|$)|(\d+)([.)]))", _at_the_start, escaped)


def fenced(code: str, language: str) -> str:
    """Return a Markdown block of code that no line of the code can end."""
    longest = max(map(len, re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def _is_unprintable(c: str) -> bool:
    return c not in "\n\t" + JOINERS and unicodedata.category(c) in UNPRINTABLE


def _escaped(c: str) -> str:
    return c.encode("unicode_escape").decode("ascii")


def _literal(text: str) -> str:
    text = re.sub("[&<>]", lambda found: ENTITIES[found.group()], text)
    text = re.sub(r"[\\`*{}\[\]|~$#]", r"\\\g<0>", text)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # within a word it is not emphasis


def _at_the_start(found: re.Match[str]) -> str:
    sign, number, mark = found.groups()
    return f"\\{sign}" if sign else f"{number}\\{mark}"
