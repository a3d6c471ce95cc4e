"""Seals: a checksum among the values of a JSON object, so that damage is found when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["SEAL", "digest_of", "sealed", "unsealed"]

SEAL = "checksum"
"""Entry with the start of the SHA-256 of all other entries."""
LENGTH = 16


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values that JSON can hold, whatever the order of their names."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(values)), sort_keys=True).encode()).hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with their checksum."""
    return {**values, SEAL: digest_of(values)[:LENGTH]}


def unsealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without their checksum; values that were never sealed are returned unchanged.

    Raises:
        ValueError: if the checksum is wrong.
    """
    rest = dict(values)
    found = rest.pop(SEAL, None)
    if found is not None and found != digest_of(rest)[:LENGTH]:
        raise ValueError("its checksum is wrong")
    return rest
