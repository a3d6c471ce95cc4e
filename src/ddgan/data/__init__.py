"""Data: what a model is trained on and compared with."""
