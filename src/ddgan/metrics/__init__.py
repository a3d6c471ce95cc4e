"""Scores of generated samples."""

from ddgan.metrics.evaluate import Report, evaluate

__all__ = ["Report", "evaluate"]
