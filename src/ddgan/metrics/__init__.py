"""Scores of generated samples: quality, coverage and speed under one protocol.

`evaluation` opens what is compared (`samples`, `real_data`, `features`), shows all samples to what the
metrics need, and makes a `result`. `metric` is the protocol of a metric. Each score has a file of its own:
`frechet`, `kernel`, `precision_recall` (with density and coverage), `inception_score`, `modes`, `balance`,
`classes`, `memorisation`, `speed`; and so have the features: `pixels`, `labelled` (of a classifier),
`torchscript`.
"""

from ddgan.metrics.evaluation import evaluate
from ddgan.metrics.metric import METRICS, Evidence, Figure, Metric, known_metrics
from ddgan.metrics.result import Report

__all__ = ["METRICS", "Evidence", "Figure", "Metric", "Report", "evaluate", "known_metrics"]
