"""The licence of weights: text that every copy of them keeps, an identifier ("apache-2.0") or words."""

from __future__ import annotations

import copy

from ddgan.config.settings import shown
from ddgan.models.model import TrainedModel

__all__ = ["agreed_license", "check_license", "licensed"]

LONGEST = 2000
"""Maximum number of characters: a name, a condition, an address; a whole licence belongs in a file."""


def check_license(license: str) -> str:
    """Return the text without spaces around it.

    Raises:
        ValueError: if it is empty or long.
    """
    text = license.strip()
    if not text:
        raise ValueError(
            f"license is {shown(license)}; it must be an identifier such as apache-2.0, or words, or left out"
        )
    if len(text) > LONGEST:
        raise ValueError(
            f"license has {len(text):,} characters; it must have at most {LONGEST:,}; give a name and a link"
        )
    return text


def agreed_license(given: str | None, present: str) -> str:
    """Return the licence of weights that have the licence `present` (empty for none) and are `given` one.

    Raises:
        ValueError: if both have one and they differ, or the given one is not valid.
    """
    if given is None:
        return present
    text = check_license(given)
    if present not in ("", text):
        raise ValueError(f"license is {shown(text)}, but these weights already have one: {present}")
    return text


def licensed(model: TrainedModel, license: str | None) -> TrainedModel:
    """Return the model with this licence, if it has none.

    Raises:
        ValueError: as `agreed_license`.
    """
    text = agreed_license(license, model.license)
    if text == model.license:
        return model
    other = copy.copy(model)
    other.license = text
    return other
