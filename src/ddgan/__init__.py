"""Denoising diffusion GANs: image generators that sample in a handful of large steps.

    run = ddgan.train("digits_quick", out="runs/digits")
    model = ddgan.DDGAN.from_pretrained("runs/digits")
    images = model.sample(64, seed=0)
    report = ddgan.evaluate(model)

After Xiao, Kreis and Vahdat, "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs",
ICLR 2022.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ddgan.system.version import __version__

if TYPE_CHECKING:
    from ddgan.config.components import register
    from ddgan.config.run_config import RunConfig
    from ddgan.config.settings import settings
    from ddgan.metrics import Report, evaluate
    from ddgan.models.averages import averaged
    from ddgan.models.ddgan import DDGAN
    from ddgan.models.opening import load
    from ddgan.planning.planner import Plan, plan
    from ddgan.system.processes import TrainingError
    from ddgan.training.callbacks import Callback
    from ddgan.training.state import Method
    from ddgan.training.trainer import Run, resume, train

__all__ = [
    "DDGAN",
    "Callback",
    "Method",
    "Plan",
    "Report",
    "Run",
    "RunConfig",
    "TrainingError",
    "__version__",
    "averaged",
    "evaluate",
    "load",
    "plan",
    "register",
    "resume",
    "settings",
    "train",
]

_HOMES = {
    "DDGAN": "ddgan.models.ddgan",
    "Callback": "ddgan.training.callbacks",
    "Method": "ddgan.training.state",
    "Plan": "ddgan.planning.planner",
    "Report": "ddgan.metrics",
    "Run": "ddgan.training.trainer",
    "RunConfig": "ddgan.config.run_config",
    "TrainingError": "ddgan.system.processes",
    "averaged": "ddgan.models.averages",
    "evaluate": "ddgan.metrics",
    "load": "ddgan.models.opening",
    "plan": "ddgan.planning.planner",
    "register": "ddgan.config.components",
    "resume": "ddgan.training.trainer",
    "settings": "ddgan.config.settings",
    "train": "ddgan.training.trainer",
}
"""Modules of the public names. They are imported when a name is first used, because that takes seconds, in
which the `ddgan` command must already answer --help and Ctrl-C."""

if not TYPE_CHECKING:  # type checkers see the imports above

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            globals()[name] = value = getattr(import_module(_HOMES[name]), name)
            return value
        if not name.startswith("_"):
            for home in _HOMES.values():
                import_module(home)
            if name in globals():  # a package within this one
                return globals()[name]
        raise AttributeError(f"module 'ddgan' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
