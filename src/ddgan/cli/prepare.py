"""`ddgan prepare`."""

from __future__ import annotations
