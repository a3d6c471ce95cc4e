"""A progress bar with ETA on a terminal; nothing elsewhere (the log has the same numbers)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]

WIDE = 100
"""Columns of a terminal from which on the bar is long."""


@contextmanager
def progress_bar(
    title: str, total: int | None, completed: int = 0, *, enabled: bool = True
) -> Iterator[Callable[..., None]]:
    """Yield advance(count, text="", total=None), which moves the bar and sets its text and its total.

    `total` is None while it is unknown; the bar starts at `completed`.
    """
    if not enabled or not sys.stderr.isatty():
        yield lambda count, text="", total=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24 if console.width >= WIDE else 8),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True)),  # is cut if need be
    )
    with Progress(*columns, console=console, expand=True) as bars:
        task = bars.add_task(title, total=total, completed=completed, text="")

        def advance(count: int, text: str | None = None, total: int | None = None) -> None:
            bars.update(task, advance=count, total=total)
            if text is not None:
                bars.update(task, text=text)

        yield advance
