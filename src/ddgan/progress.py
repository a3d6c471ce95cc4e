"""Progress for people: a bar with ETA on a terminal, silence elsewhere (the log has the lines)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, total: int | None, *, enabled: bool = True) -> Iterator[Callable[..., None]]:
    """Yield advance(count, text=""): moves the bar and sets the text behind it.

    `total` may be None where it is not known.
    """
    if not enabled or not sys.stderr.isatty():
        yield lambda count, text="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total, text="")

        def advance(count: int, text: str | None = None) -> None:
            bars.update(task, advance=count)
            if text is not None:
                bars.update(task, text=text)

        yield advance
