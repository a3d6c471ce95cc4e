"""Training: the iteration, the loop around it, and the files that a run writes."""

__all__: list[str] = []
