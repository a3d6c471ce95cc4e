"""Models in other programs' forms."""

from __future__ import annotations

from importlib import import_module

__all__ = ["require"]


def require(extra: str, *packages: str) -> None:
    """Complain where an export's packages are not installed.

    Raises:
        ValueError: naming the extra that brings them.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError:
            raise ValueError(f"this needs the package {package}; pip install 'ddgan[{extra}]'") from None
