"""The report of an experiment shows text from records of other machines as text."""

from __future__ import annotations

import re
import shlex

from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from ddgan.paper.experiment import Experiment, Outcome
from ddgan.paper.outcome import report
from hostile import HOSTILE


def test_records_of_models_are_shown_as_they_are() -> None:
    model = dict.fromkeys(("name", "settings", "commit", "machine"), HOSTILE)
    outcome = Outcome(
        Figure(),
        "A figure.",
        {},
        models=[{**model, "seed": 0, "iterations": 5, "batch_size": 8, "minutes": 0.1}],
    )
    experiment = Experiment("x", "Fig. 1", "about x", lambda request: outcome, {"cpu": "a minute"})
    record = {
        "seeds": [0],
        "scale": "cpu",
        "command": shlex.join(["ddgan", "reproduce", "x", "--data", HOSTILE]),
        "commit": "",
        "machine": HOSTILE,
        "versions": {"torch": "2"},
        "minutes": 1.0,
        "training_minutes": 1.0,
    }
    html = MarkdownIt("commonmark").enable("table").render(report(experiment, outcome, record))
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;|") == 6
    assert not re.findall("<(?:script|hr|a )", html)
    assert re.findall("<(h[1-6])>", html) == ["h1", "h2"]
    assert html.count("<td>") == 7
    assert not set(html) & set("\x1b\x07\u202e")
