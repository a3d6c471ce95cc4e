"""Progress bars appear on terminals alone."""

from __future__ import annotations

import io
import sys

import pytest

from ddgan.system.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_count_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar("training", 10) as advance:
        advance(4)
        advance(0, "812 images/s")
        advance(6)
    shown = screen.getvalue()
    assert "training" in shown
    assert "10/10" in shown
    assert "812 images/s" in shown


@pytest.mark.parametrize(("screen", "enabled"), [(io.StringIO(), True), (Terminal(), False)])
def test_otherwise_it_is_silent(monkeypatch: pytest.MonkeyPatch, screen: io.StringIO, enabled: bool) -> None:
    monkeypatch.setattr(sys, "stderr", screen)
    with progress_bar("training", 10, enabled=enabled) as advance:
        advance(4, "text")
    assert screen.getvalue() == ""
