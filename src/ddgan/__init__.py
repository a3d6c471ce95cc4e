"""Denoising diffusion GANs: image generators that sample in a handful of large steps.

    run = ddgan.train("digits_quick", out="runs/digits")
    model = ddgan.DDGAN.from_pretrained("runs/digits")
    images = model.sample(64, seed=0)
    report = ddgan.evaluate(model)

After Xiao, Kreis and Vahdat, "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs",
ICLR 2022.
"""

from ddgan.config.run_config import RunConfig
from ddgan.metrics import Report, evaluate
from ddgan.models.ddgan import DDGAN
from ddgan.system.processes import TrainingError
from ddgan.training.trainer import Run, resume, train

__all__ = ["DDGAN", "Report", "Run", "RunConfig", "TrainingError", "evaluate", "resume", "train"]
__version__ = "0.1.0"
