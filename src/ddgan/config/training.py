"""TrainingConfig: length, batch size, hardware, checkpoints and scores of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from ddgan.config.settings import Interval, SettingError, settings

__all__ = ["INDEPENDENT", "LENGTHS", "UNMEASURED", "FreezeConfig", "TrainingConfig", "known_end"]

UNMEASURED = 10**12
"""Iterations of a time budget before it has been measured: no end, and no learning-rate decay."""
OWN_SCORINGS, OWN_SAMPLES = 20, 5000
"""Scorings of a run that stops when it is flat, and samples for each at most, unless `score_every` is set."""
Iterations = Annotated[int, Interval(ge=0, le=10**9)]
"""Interval between two actions, in iterations; 0 for never."""


def _names(value: Any) -> Any:
    """Make the keys of a mapping text, as a class may be given by its number."""
    return {str(key): weight for key, weight in value.items()} if isinstance(value, Mapping) else value


ClassWeights = Annotated[dict[str, Annotated[float, Interval(ge=0, le=1e6)]], BeforeValidator(_names)]

Frozen = Annotated[int, Interval(ge=0, le=1000)] | tuple[str, ...]


@settings
class FreezeConfig:
    """The weights that stay as they start, for fine-tuning with `--init`.

    Args:
        generator: the number of levels of G's encoder, from the input on; or patterns of names of weights, as
            in ["encoder.32x32.*"].
        discriminator: the number of levels or blocks of each D, from the input on (FreezeD); or patterns of
            names, which begin with the role, as in ["pair.blocks.0.*"].
    """

    generator: Frozen = 0
    discriminator: Frozen = 0


@settings
class TrainingConfig:
    """How a run trains, what it keeps and what it logs.

    Counts are at least 1, or at least 0 where 0 has a meaning; minutes may be fractions.

    Args:
        batch_size: images per iteration over all processes and parts; a multiple of `accumulation`.
        num_iterations: iterations, each with one update of D and one of G; ignored if a budget is given.
        max_images: budget in images, over all iterations; 0 for none.
        max_minutes: budget in minutes, converted to iterations once, after a warm-up; 0 for none.
        accumulation: parts into which each process splits its share of the batch, accumulating gradients
            to save memory; minibatch statistics are taken over each part.
        class_weights: how often classes are drawn: "balanced": all equally often; "sqrt": by the square root
            of their size; or a weight by class, as in {cat: 3}, of each image relative to classes not named.
            Scores still compare with the data as it is.
        freeze: layers that are not trained.
        held_out: images kept from training, to check whether D memorises; 0 for none. Embedded data always
            has some.
        device: "auto" takes CUDA, then Apple's MPS, then the CPU.
        precision: "float32", or "bf16" or "fp16" for the networks' arithmetic (weights, losses, penalties
            and EMAs stay in float32; fp16 scales the losses), or "auto": bf16 if the device supports it, else
            fp16 on a GPU that is fast in it.
        tf32: allow a GPU to multiply float32 matrices in TF32.
        channels_last: store images and weights with the channels innermost, which is faster for convolutions.
        compile: compile the networks with torch.compile (the first iterations take minutes).
        cuda_graphs: replay the updates of each iteration as a CUDA graph, on one GPU: for networks so small
            that launching their kernels takes longer than running them.
        activation_checkpointing: recompute the networks' activations in the backward pass instead of
            storing them: less memory, a third more time; for 256 px and above.
        log_every: iterations between two lines of the log.
        gradient_norms: log the norm of the gradient of each term of each loss with every line, at the cost of
            one more forward and backward pass per term.
        checkpoint_minutes: minutes between two checkpoints; more if saving would take over 1 % of the time.
        keep_last: number of newest checkpoints to keep.
        keep_every: iterations between checkpoints that are kept for good; 0 for none.
        grid_every: iterations between two grids of samples from the same noise; 0 for those by time alone.
        grid_minutes: minutes between two grids of samples from the same noise; fewer early in a run, and more
            if grids and the report would take over 1 % of the time; 0 for none by time.
        score_every: iterations between two scorings with `score_samples`; 0 for none. The checkpoint that is
            best by the first of `metrics` is kept.
        score_samples: N, the number of samples for each score; 0 for none; "auto" for as many at the end, up
            to 10,000, as take at most 5 % of the training time, without a download, and 5,000 before.
        features: what the scores compare, as for `ddgan evaluate --features`; "auto" is that of
            `ddgan evaluate`, or the best that needs no download if score_samples is "auto".
        metrics: the scores, as for `ddgan evaluate --metrics`; by default modes if they can be counted, else
            Fréchet distance, and also memorisation or speed.
        stop_when: "flat" stops a run whose scores no longer improve, beyond their noise, or whose samples
            are training images; without `score_every` it is then scored 20 times, with at most 5,000
            samples. "never" trains to the end.
        max_skipped: consecutive iterations with a non-finite gradient after which the run stops.
        trackers: where to log besides log.jsonl.
    """

    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 256
    num_iterations: Annotated[int, Interval(ge=1, le=10**9)] = 351_000
    max_images: Annotated[int, Interval(ge=0, le=10**12)] = 0
    max_minutes: Annotated[float, Interval(ge=0, le=10**7)] = 0.0
    accumulation: Annotated[int, Interval(ge=1, le=1_000_000)] = 1
    class_weights: Literal["balanced", "sqrt"] | ClassWeights | None = None
    freeze: FreezeConfig = FreezeConfig()
    held_out: Annotated[int, Interval(ge=0, le=10**9)] = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bf16", "fp16"] = "float32"
    tf32: bool = True
    channels_last: bool = False
    compile: bool = False
    cuda_graphs: bool = False
    activation_checkpointing: bool = False
    log_every: Annotated[int, Interval(ge=1, le=10**9)] = 50
    gradient_norms: bool = False
    checkpoint_minutes: Annotated[float, Interval(ge=0, le=10**7)] = 1.0
    keep_last: Annotated[int, Interval(ge=1, le=10**6)] = 2
    keep_every: Iterations = 0
    grid_every: Iterations = 0
    grid_minutes: Annotated[float, Interval(ge=0, le=10**7)] = 10.0
    score_every: Iterations = 0
    score_samples: Annotated[int, Interval(ge=0, le=10**8)] | Literal["auto"] = "auto"
    features: str = "auto"
    metrics: tuple[str, ...] = ()
    stop_when: Literal["never", "flat"] = "never"
    max_skipped: Annotated[int, Interval(ge=1, le=10**9)] = 100
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size % self.accumulation:
            raise SettingError(
                "batch_size", f"is {self.batch_size}, which accumulation {self.accumulation} does not divide"
            )
        if self.max_images and self.max_minutes:
            raise SettingError("max_images", "and max_minutes are both given; give one")
        if self.score_every and not self.score_samples:
            raise SettingError(
                "score_every", f"is {self.score_every}, but score_samples is 0; set score_samples too"
            )

        if self.stop_when == "flat" and not self.score_samples:
            raise SettingError(
                "stop_when", "is flat, but score_samples is 0, so nothing shows it; set score_samples too"
            )

    def score_interval(self, num_iterations: int) -> int:
        """Return the iterations between two scorings in a run of this length; 0 for none."""
        if self.score_every or self.stop_when == "never":
            return self.score_every
        return max(num_iterations // OWN_SCORINGS, 1)

    @property
    def interim_samples(self) -> int:
        """Number of samples for each score before the end."""
        if self.score_samples == "auto":
            return OWN_SAMPLES
        return self.score_samples if self.score_every else min(self.score_samples, OWN_SAMPLES)

    @property
    def planned_iterations(self) -> int:
        """Number of iterations; UNMEASURED until a time budget has been measured."""
        if self.max_minutes:
            return UNMEASURED
        return -(-self.max_images // self.batch_size) if self.max_images else self.num_iterations


def known_end(num_iterations: int) -> int | None:
    """Return the last iteration of a run, or None if it is not known yet."""
    return None if num_iterations == UNMEASURED else num_iterations


LENGTHS = ("num_iterations", "max_images", "max_minutes")
"""Settings of the length of a run, which may change when it is resumed: see `ddgan.training.extension`."""
INDEPENDENT = (
    "device",
    "log_every",
    "gradient_norms",
    "checkpoint_minutes",
    "keep_last",
    "keep_every",
    "grid_every",
    "grid_minutes",
    "stop_when",
    "trackers",
    "cuda_graphs",
)
"""Settings that may change when a run is resumed, because they do not affect what it learns."""
