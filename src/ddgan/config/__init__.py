"""Settings: checked the same way whether they come from YAML, Python or the command line."""

__all__: list[str] = []
