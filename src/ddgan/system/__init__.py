"""What the program asks of the machine: whole files, devices, processes, random numbers, progress."""

__all__: list[str] = []
