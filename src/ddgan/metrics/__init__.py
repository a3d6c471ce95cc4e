"""Scores of generated samples: quality, coverage and speed under one protocol.

`evaluation` opens samples, real data and features (`samples`, `real_data`, `features`), collects what the
metrics need in one pass over the samples, and returns a `result`. `metric` has the base class of metrics.
Each score has its own file: `frechet`, `kernel`, `precision_recall` (with density and coverage),
`inception_score`, `modes`, `balance`, `classes`, `memorisation`, `speed`. So do the features: `pixels`,
`labelled` (of a classifier), `torchscript`.
"""

from ddgan.metrics.evaluation import evaluate
from ddgan.metrics.metric import METRICS, Evidence, Figure, Metric, known_metrics
from ddgan.metrics.result import Report

__all__ = ["METRICS", "Evidence", "Figure", "Metric", "Report", "evaluate", "known_metrics"]
