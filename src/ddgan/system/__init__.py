"""The machine: atomic files, devices, processes, random numbers, progress."""

__all__: list[str] = []
