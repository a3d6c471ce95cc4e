"""Data: what a model is trained on and compared with."""

from ddgan.data.batch import Batch, Data
from ddgan.data.digits import SingleDigits, StackedDigits
from ddgan.data.prepared import ImageDataset
from ddgan.data.sources import EMBEDDED, check_source, contents_of, open_source
from ddgan.data.toy import Gaussians

__all__ = [
    "EMBEDDED",
    "Batch",
    "Data",
    "Gaussians",
    "ImageDataset",
    "SingleDigits",
    "StackedDigits",
    "check_source",
    "contents_of",
    "open_source",
]
