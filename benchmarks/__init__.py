"""Measurements: `python -m benchmarks.NAME`, or all of the library's speed by `make bench`.

Ratios from one run, the paths taken in turns, medians with spread, no assertions on time.
"""
