"""What the two networks are trained for: pure functions of logits, gradients and samples."""

__all__: list[str] = []
