"""The version of ddgan."""

__all__ = ["__version__"]

__version__ = "0.2.0"
"""MAJOR.MINOR.PATCH, of the installed package."""
