"""The training objectives of both networks: pure functions of logits, gradients and samples."""

__all__: list[str] = []
