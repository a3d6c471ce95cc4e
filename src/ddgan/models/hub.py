"""Downloading models from the Hugging Face Hub by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddgan.models.shipped_models import known_names, suggestion
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.text import one_line

__all__ = ["download_weights"]

NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
"""user/name or user/name@revision; the revision is a branch, a tag or a commit."""


def download_weights(source: str) -> Path:
    """Return the local copy of a Hub model's weights file, downloaded unless it is in the Hub's cache.

    Args:
        source: "user/name" or "user/name@revision", not an existing local path.

    Raises:
        ValueError: if it is not a Hub name, or cannot be downloaded.
    """
    name = NAME.fullmatch(source)
    if name is None or Path(source).parent.is_dir():
        shipped = f"{suggestion(source)}; or " if known_names() else ""
        raise ValueError(
            f"'{source}' does not exist; {shipped}give a run folder, a .safetensors file or a model on the "
            "Hub (user/name)"
        )
    import huggingface_hub

    try:
        with _quiet():
            path = huggingface_hub.hf_hub_download(name["repo"], WEIGHTS_NAME, revision=name["revision"])
    except Exception as error:  # the client's errors have no common base class
        raise ValueError(
            f"'{source}' does not exist locally and could not be downloaded from the Hub: {hub_reason(error)}"
        ) from error
    return Path(path)


def hub_reason(error: Exception) -> str:
    """Explain in words why a request to the Hub failed."""
    from huggingface_hub import errors

    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private (see 'hf auth login')"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "there is no connection and no copy in the cache"
    if isinstance(error, errors.EntryNotFoundError):
        return f"the repository has no {WEIGHTS_NAME}"
    return one_line(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the client's log lines about each attempt; the error is reported once, at the end."""
    import huggingface_hub.utils.logging  # its first import sets the level  # noqa: F401

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
