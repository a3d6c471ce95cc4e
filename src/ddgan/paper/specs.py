"""The models that the experiments train, by name, at each scale; each is a variant of a base configuration.

    digits      three stacked digits; base: the preset digits_quick with another loss and D, see
                `digits_base` (smoke: tiny networks)
    paper       CIFAR-10; base: the preset cifar10
    gaussians   25 Gaussians in the plane; base: the preset gaussians

All models of a family have the same generator, batch size and number of iterations (the training budget).
The variants of the DDGAN also share all settings except the one in their name; the baselines have their own.
"""

from __future__ import annotations

from typing import Any

from ddgan.config.presets import preset_names
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import plain
from ddgan.paper.store import ModelSpec
from ddgan.training.trainer import configured

__all__ = [
    "DENOISER_STEPS",
    "FULL",
    "PAPER_STEPS",
    "PLAIN",
    "STEPS",
    "TINY_TRAINING",
    "all_models",
    "base_of",
    "changed",
    "gan",
    "image_models",
    "point_models",
]

STEPS = (1, 2, 4, 8)
PAPER_STEPS = 4
"""T of the variants of Table 2, and number of steps of the chains compared with it."""
FULL, PLAIN = f"ddgan-t{PAPER_STEPS}", "ddgan-no-reconstruction"
"""The base with T = 4; the same with the paper's objective, if the base has another."""
AUGMENTATION_STEPS = 4
DENOISER_STEPS = {"smoke": 20, "cpu": 1000, "paper": 1000}
"""N, the number of diffusion steps of the Gaussian denoiser."""
CRITIC_LENGTH = {"smoke": 5, "cpu": 2, "paper": 5}
"""Iterations of WGAN-GP relative to the other models; every fifth also updates G."""
TINY_MLP = {"hidden_features": 32, "num_blocks": 1, "latent_size": 4, "time_features": 16}
TINY_TRAINING = {"batch_size": 16, "num_iterations": 12, "log_every": 3, "device": "cpu"}


def changed(config: RunConfig, **changes: dict[str, Any]) -> RunConfig:
    """Return a configuration with settings changed by section, such as diffusion={"num_steps": 2}."""
    return config.changed(
        {f"{section}.{name}": value for section, values in changes.items() for name, value in values.items()}
    )


def base_of(preset: str, data: str | None = None) -> RunConfig:
    """Return the settings of a preset, without scoring at the end, for its own or other data."""
    assert preset in preset_names()
    return configured(preset, data, None, {"training.score_samples": 0})


def image_base(scale: str, data: str | None = None) -> RunConfig:
    """Return the base of the image models: stacked digits, or CIFAR-10 at scale paper."""
    if scale == "paper":
        return base_of("cifar10", data)
    base = digits_base()
    return base if scale == "cpu" else tiny(base, {"hidden_features": 16, "time_features": 8})


def denoiser_base(scale: str, data: str | None = None) -> RunConfig:
    """Return the base of the Gaussian denoiser's generator and budget; on digits the preset itself."""
    if scale == "paper":
        return image_base(scale, data)
    base = base_of("digits_quick")
    return base if scale == "cpu" else tiny(base, {"base_channels": 4, "time_features": 8})


def tiny(base: RunConfig, discriminator: dict[str, Any]) -> RunConfig:
    """Shrink a base of digits for scale smoke."""
    own = {f"discriminators.pair.{name}": value for name, value in discriminator.items()}
    return changed(base, generator=TINY_MLP, method=own, training=TINY_TRAINING)


def digits_base() -> RunConfig:
    """Return the preset digits_quick changed for coverage at T = 4: fully connected D, more reconstruction.

    The preset itself is tuned for clean digits at T = 8. Both are measured in docs/results/learning.md.
    """
    return changed(
        base_of("digits_quick"),
        method={
            "discriminators.pair": {"kind": "mlp", "hidden_features": 512},
            "reconstruction.weight": 25.0,
        },
        optimization={"generator.lr": 2e-3, "discriminator.lr": 1e-3},
    )


def image_models(scale: str, data: str | None = None) -> dict[str, ModelSpec]:
    """Return the image models, by name."""
    base = image_base(scale, data)
    of_gan = gan if scale == "paper" else critic_guided
    four = changed(base, diffusion={"num_steps": PAPER_STEPS})
    bare = changed(four, method={"reconstruction": None})
    specs = [
        *(
            ModelSpec(
                f"ddgan-t{steps}", changed(base, diffusion={"num_steps": steps}), f"DDGAN with T = {steps}"
            )
            for steps in STEPS
        ),
        ModelSpec(
            "ddgan-no-latent", changed(four, generator={"latent_size": 0}), "T = 4, G without latent z"
        ),
        ModelSpec(
            "ddgan-noise",
            changed(four, diffusion={"prediction": "noise"}, generator={"tanh": False}),
            "T = 4, G outputs the noise",
        ),
        ModelSpec(
            "ddgan-x_prev",
            changed(bare, diffusion={"prediction": "x_prev"}, generator={"tanh": False}),
            "T = 4, G outputs x_{t-1} (so there is no x_0 for the reconstruction term)",
        ),
        of_gan(base, "gan", 1, "one-step GAN, the same generator"),
        of_gan(base, "gan-augmented", AUGMENTATION_STEPS, "one-step GAN, D sees both sides noised"),
        denoiser("ddpm", denoiser_base(scale, data), DENOISER_STEPS[scale]),
    ]
    if base.method.reconstruction is not None:
        specs += [
            ModelSpec(PLAIN, bare, "T = 4 without the reconstruction term"),
            ModelSpec(
                "ddgan-no-latent-no-reconstruction",
                changed(bare, generator={"latent_size": 0}),
                "T = 4 without the reconstruction term, G without latent z",
            ),
        ]
    return {spec.name: spec for spec in specs}


def gan(base: RunConfig, name: str, num_levels: int, about: str, **method: Any) -> ModelSpec:
    """Return a one-step GAN with a base's networks, its loss or another `method`, and no reconstruction."""
    loss = {"adversarial": plain(base.method.adversarial), "penalties": plain(base.method.penalties)}
    chosen = method or {"kind": "one_step_gan"} | loss
    networks = {"discriminator": plain(base.method.discriminators["pair"])}
    config = changed(base, diffusion={"num_steps": num_levels}).changed({"method": chosen | networks})
    return ModelSpec(name, config, about)


def critic_guided(base: RunConfig, name: str, num_levels: int, about: str) -> ModelSpec:
    """Return the one-step GAN of the digits: WGAN-GP, with one update of G per update of the critic.

    It had the best coverage of all variants tried for the same time: the non-saturating loss collapses with
    the base's D, and covers 350 of 1,000 modes with the preset's (docs/results/learning.md).
    """
    rated = changed(base, optimization=both_rates(1e-3))
    return gan(rated, name, num_levels, about, kind="wgan_gp", critic_updates=1)


def both_rates(lr: float) -> dict[str, Any]:
    """Return settings of Adam for both networks, as usual for one-step GANs."""
    sides, values = ("generator", "discriminator"), {"lr": lr, "betas": (0.0, 0.9)}
    return {f"{side}.{name}": value for side in sides for name, value in values.items()}


def denoiser(name: str, base: RunConfig, num_steps: int) -> ModelSpec:
    """Return the Gaussian denoiser with the base's generator, without latent, over `num_steps` steps.

    Schedule, Adam and prediction are DDPM's (beta_max 20; second beta 0.999; noise). But fully connected
    networks of images predict x_0, which is the stronger baseline: predicting noise, they learn almost
    nothing in the same number of iterations, because they must first learn to pass their input through (see
    `ddgan.training.methods.gaussian_diffusion`).
    """
    is_unet = base.generator.kind == "ncsnpp"
    predicts_image = base.data.kind != "gaussians" and not is_unet
    config = changed(
        base,
        generator={"latent_size": 0} | ({} if predicts_image else {"tanh": False}),
        diffusion={
            "num_steps": num_steps,
            "prediction": "x_0" if predicts_image else "noise",
            "schedule": {"kind": "vp", "beta_min": 0.1, "beta_max": 20.0},
        },
        optimization={"generator.betas": (0.9, 0.999), "generator.lr": 2e-4 if is_unet else 2e-3},
    ).changed({"method": "gaussian_diffusion"})
    return ModelSpec(name, config, f"Gaussian denoiser, N = {num_steps}")


def point_base(scale: str) -> RunConfig:
    """Return the base of the 25 Gaussians: the preset with T = 4; at scale paper with the paper's sizes."""
    base = changed(base_of("gaussians"), diffusion={"num_steps": PAPER_STEPS})
    if scale == "paper":
        networks: dict[str, dict[str, Any]] = {
            "generator": {"hidden_features": 512},
            "method": {"discriminators.pair.hidden_features": 512},
        }
        return changed(base, **networks, training={"num_iterations": 50_000})
    if scale == "cpu":
        return base
    small = {"hidden_features": 32, "time_features": 16}
    own = {f"discriminators.pair.{name}": value for name, value in small.items()}
    tiny = changed(base, generator=small | {"num_blocks": 1}, method=own)
    return changed(tiny, training=TINY_TRAINING | {"batch_size": 64})


def point_models(scale: str) -> dict[str, ModelSpec]:
    """Return the models of the 25 Gaussians, by name.

    The D of the GANs gets no octaves of the coordinates: with them both collapse (docs/results/learning.md).
    """
    base = point_base(scale)
    rivals = changed(
        base,
        method={
            "discriminators.pair.num_frequencies": 0,
            "penalties": [{"kind": "r1", "gamma": 1.0}],
        },
        optimization=both_rates(5e-4),
    )
    longer = changed(rivals, training={"num_iterations": base.training.num_iterations * CRITIC_LENGTH[scale]})
    about = "WGAN-GP, five updates of the critic for one of G"
    specs = [
        ModelSpec("gaussians-ddgan-t4", base, "DDGAN with T = 4"),
        gan(rivals, "gaussians-gan", 1, "one-step GAN"),
        gan(longer, "gaussians-wgan-gp", 1, about, kind="wgan_gp", penalty_weight=0.1),
        denoiser("gaussians-ddpm", base, DENOISER_STEPS[scale]),
    ]
    return {spec.name: spec for spec in specs}


def all_models(scale: str, data: str | None = None) -> dict[str, ModelSpec]:
    """Return every model that experiments share, by name."""
    return image_models(scale, data) | point_models(scale)
