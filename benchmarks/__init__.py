"""Benchmarks: `python -m benchmarks.NAME`, or `make bench` for all benchmarks of the library's speed.

Ratios come from one process that interleaves the compared versions. Medians with spread, no assertions on
time.
"""
