"""A method from outside the package: regression of x_0, whose model averages away all that is uncertain."""

from typing import Annotated

import torch

import ddgan
from ddgan.config.components import Component, default
from ddgan.losses.reconstruction import Reconstruction
from ddgan.models.one_step import OneStepGAN
from ddgan.training.forward import run
from ddgan.training.noise import draw_noise
from ddgan.training.state import GENERATOR, Update


@ddgan.register("method", "averaging")
class Averaging(ddgan.Method):
    """G is trained to give x_0 from x_T.

    Args:
        distance: of its output from x_0.
    """

    distance: Annotated[Reconstruction, Component("reconstruction")] = default("reconstruction", "l2")

    def updates(self, step):
        return (Update(GENERATOR, self.loss),)

    def draw(self, config, step, x):
        return draw_noise(
            config.seed, step, x, config.diffusion.num_steps, config.generator.latent_size
        ).generator

    def open(self, generator, config, sample_shape, license=""):
        return OneStepGAN(generator, config, sample_shape, license)

    def loss(self, state, batch, noise):
        t = torch.ones_like(noise.t)
        predicted = run(state, state.generator, noise.noise_step, t, noise.z, batch.condition)
        error = self.distance.error(predicted, batch.x)
        return {"distance": error}, {"loss_g": error}
