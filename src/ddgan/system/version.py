"""The version of ddgan."""

__version__ = "0.2.0"
