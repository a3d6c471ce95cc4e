"""Scores of generated samples: quality, coverage and speed under one protocol."""

from ddgan.metrics.evaluation import evaluate
from ddgan.metrics.result import METRICS, Report

__all__ = ["METRICS", "Report", "evaluate"]
