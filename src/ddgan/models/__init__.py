"""Trained models: how they sample, and the files, folders and Hub names that they are opened from."""

__all__: list[str] = []
