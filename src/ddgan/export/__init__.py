"""Export of models to other programs."""

from __future__ import annotations

from importlib import import_module

__all__ = ["require"]


def require(extra: str, *packages: str) -> None:
    """Check that the packages of an export are installed.

    Raises:
        ValueError: if one is missing, naming the extra that installs it.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError:
            raise ValueError(f"this needs the package {package}; pip install 'ddgan[{extra}]'") from None
