"""The forward process, its posterior, and the reverse chain (paper sections 2 and 3)."""

__all__: list[str] = []
