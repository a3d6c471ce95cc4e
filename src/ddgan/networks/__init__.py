"""The networks: one file for each family, and the layers that they share.

A network is built from its settings for a shape of samples and for the conditions that there are,
`config.build(sample_shape, conditions)`. Generators are called as G(x_t, t, z, condition), discriminators as
D(x_prev, x_t, t, condition); both take samples (B, *sample_shape), t int64 (B,) in 1..T, z (B, latent_size),
and a `Condition` or None.
"""

__all__: list[str] = []
