"""Text that would act if it were shown raw, in HTML, Markdown, YAML, Python, a plot or a terminal."""

from __future__ import annotations

from typing import Any

from ddgan import DDGAN, RunConfig

__all__ = ["HOSTILE", "hostile_model"]

HOSTILE = (
    "<script>alert(1)</script>|\n---\n```python\nimport os\n```\n# Owned\n"
    '<img src=x onerror=alert(2)>[x](javascript:alert(3))"; $\\foo$ {name} \x1b]0;owned\x07\x1b[2J\u202e'
)


def hostile_model(model: DDGAN) -> DDGAN:
    """The model with hostile text wherever a weights file can hold text: the licence, and paths of data."""
    settings: dict[str, Any] = model.config.to_dict() | {"data": {"kind": "images", "path": HOSTILE}}
    return DDGAN(model.generator, RunConfig.from_dict(settings), model.sample_shape, HOSTILE)
