"""Reading and writing the published checkpoints."""

__all__: list[str] = []
