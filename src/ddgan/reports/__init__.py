"""Pages that a person reads: the report of a run, and runs side by side."""

__all__: list[str] = []
