"""Measurements: `python -m benchmarks.NAME`. Ratios from one run, medians with spread, no assertions."""
