"""Other implementations' files, in and out."""

__all__: list[str] = []
