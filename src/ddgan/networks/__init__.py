"""The networks: one file per family, and the layers that they share.

`config.build(sample_shape, conditions)` builds a network from its settings, for samples of that shape and for
those conditions. Generators are called as G(x_t, t, z, condition), discriminators as
D(x_prev, x_t, t, condition); both take samples (B, *sample_shape), t int64 (B,) in 1..T, z (B, latent_size),
and a `Condition` or None.
"""

__all__: list[str] = []
