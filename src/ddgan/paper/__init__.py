"""Every table and figure of the paper as an experiment: train, sample, measure, compare with the paper.

One module per table or figure, listed in `registry`. Shared: `experiment` (the interface), `specs` and
`store` (the trained models), `scoring` and `measures` (their scores), `plots`, `published`, `provenance` and
`outcome` (the files).
"""

__all__: list[str] = []
