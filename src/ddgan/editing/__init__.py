"""Editing with the reverse chain: strokes, inpainting, paths between samples (paper section 5, Fig 8 and 9).

No training is needed. A picture is noised to x_t, which keeps its layout but not its details, and the
model's chain denoises it from there::

    stroke      x_t ~ q(x_t | x_0), t = strength;  then x_{t-1} .. x_0 by the model
    inpaint     after each step, known pixels are replaced by samples of q(x_{t-1} | x_0) of the picture;
                going back and forth between x_{t-1} and x_t makes both parts agree (Lugmayr et al.,
                "RePaint", 2022)
    interpolate all noises and latents of two samples, interpolated spherically

Image i of a result depends only on its input and (seed, i). Images are (B, *sample_shape), in [-1, 1].
"""

from ddgan.editing.inputs import read_images, read_mask
from ddgan.editing.paths import Filmstrip, filmstrip, interpolate, mixed
from ddgan.editing.pictures import DEFAULT_ROUNDS, half_strength, inpaint, repeated, stroke, variations

__all__ = [
    "DEFAULT_ROUNDS",
    "Filmstrip",
    "filmstrip",
    "half_strength",
    "inpaint",
    "interpolate",
    "mixed",
    "read_images",
    "read_mask",
    "repeated",
    "stroke",
    "variations",
]
