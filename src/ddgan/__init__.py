"""Denoising diffusion GANs: image generators that sample in a handful of large steps.

    run = ddgan.train("digits_quick", out="runs/digits")
    model = ddgan.DDGAN.from_pretrained("runs/digits")
    images = model.sample(64, seed=0)
    report = ddgan.evaluate(model)

After Xiao, Kreis and Vahdat, "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs",
ICLR 2022.
"""

from ddgan.config.components import register
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import settings
from ddgan.metrics import Report, evaluate
from ddgan.models.ddgan import DDGAN
from ddgan.models.opening import load
from ddgan.system.processes import TrainingError
from ddgan.system.version import __version__
from ddgan.training.callbacks import Callback
from ddgan.training.state import Method
from ddgan.training.trainer import Run, resume, train

__all__ = [
    "DDGAN",
    "Callback",
    "Method",
    "Report",
    "Run",
    "RunConfig",
    "TrainingError",
    "__version__",
    "evaluate",
    "load",
    "register",
    "resume",
    "settings",
    "train",
]
