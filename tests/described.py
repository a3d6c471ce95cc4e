"""The texts and the scores of the model that `packed` in conftest.py packs."""

from __future__ import annotations

from typing import Any

from ddgan.models.packing import Description

TINY_SCORES: dict[str, Any] = {"protocol": 2, "num_samples": 5, "seed": 0, "modes": {"kl": 0.25, "modes": 7}}
"""Scores of the model that is packed below; nobody has taken them."""


def described(**changes: Any) -> Description:
    """The description of a model called tiny, with some of its texts changed."""
    texts: dict[str, Any] = {
        "name": "tiny",
        "title": "noise in three colours",
        "data": "Digits (somebody, 1998)",
        "data_license": "CC BY 4.0",
        "license": "apache-2.0",
        "command": "ddgan train --config tiny.yaml --out runs/tiny",
        "commit": "0123456789ab",
        "machine": "a laptop",
        "good_for": ("tests",),
        "limits": ("it shows nothing", "it is small"),
    }
    return Description(**texts | changes)
