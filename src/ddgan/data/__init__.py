"""Data: what a model is trained on and compared with."""

__all__: list[str] = []
