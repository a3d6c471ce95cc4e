"""Data: what a model is trained on and compared with."""

from ddgan.data.digits import StackedDigits
from ddgan.data.sources import SOURCES, Data, check_source, open_source
from ddgan.data.toy import Gaussians

__all__ = ["SOURCES", "Data", "Gaussians", "StackedDigits", "check_source", "open_source"]
