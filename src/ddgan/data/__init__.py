"""Data: datasets for training and for scores."""

__all__: list[str] = []
