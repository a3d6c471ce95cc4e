"""HTML pages: the report of a run, and the comparison of runs."""

__all__: list[str] = []
