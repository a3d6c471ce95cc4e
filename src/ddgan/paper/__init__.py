"""Every table and figure of the paper as an experiment: train, sample, measure, set beside the published.

One module for each; `registry` knows them. What they share: `base` (what an experiment is), `store` and
`models` (the trained models), `scoring` and `measures` (their scores), `plots`, `published`, `provenance` and
`outcome` (the files).
"""

__all__: list[str] = []
