"""Settings: what a YAML, Python and the command line may choose, checked in one way."""

__all__: list[str] = []
