"""Methods: how each kind of model is trained. One file each; see `ddgan.training.state.Method`."""

__all__: list[str] = []
