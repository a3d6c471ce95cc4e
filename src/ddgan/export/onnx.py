"""ONNX: export of one denoising step and of the whole chain, as graphs that run without PyTorch.

step.onnx     x_t (B, ...), t (B,), z (B, nz), noise (B, ...), y (B,) -> x_prev, prediction
chain.onnx    x_T (B, ...), z (B, T, nz), noise (B, T, ...), y (B,) -> x_0; z and noise in order T..1
weights.bin   the weights of both, in float32, fp16 or int8 (see `rounding`)

The batch size B is dynamic; y is the label of the condition. t and y are int64, all else float32. The graphs
are kept only if onnxruntime's results match those of PyTorch with the same weights. Inputs that a model does
not use are omitted: z if nz is 0, noise if the generator outputs x_{t-1}, y if there are no classes. The
metadata of each graph is that of a weights file: settings, the shape of a sample, the licence.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from torch import Tensor, nn

from ddgan.diffusion.chain import Noise
from ddgan.export.folder import export_folder, write_export_record
from ddgan.export.onnx_graphs import StepModel, save_weights
from ddgan.export.rounding import WeightPrecision, check_weight_precision, round_weights
from ddgan.models.card import model_card
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.model import Model
from ddgan.models.sample_files import has_png_form
from ddgan.models.weights_file import metadata_of
from ddgan.networks.conditions import Condition
from ddgan.system.arguments import check_seed
from ddgan.system.files import write_atomically
from ddgan.system.images import to_levels
from ddgan.system.randomness import ImageNoise

__all__ = ["Difference", "Scorer", "chain_inputs", "export_onnx", "open_onnx", "run_onnx", "write_step"]

TOLERANCE = 1e-4
"""Largest allowed difference from PyTorch with the same weights, on the scale of images, -1..1."""
OPSET = 18
TRACED_BATCH, CHECKED_BATCHES = 2, (1, 3)
STEP_NAME, CHAIN_NAME, OUTSIDE_NAME = "step.onnx", "chain.onnx", "weights.bin"
FEWEST_COMPARED, MOST_COMPARED, COMPARED_VALUES = 4, 64, 2**17
"""Samples that are compared with those of `model.sample`: as many as have so many values."""
WAITING = ("session.intra_op.allow_spinning", "0")
"""Setting of onnxruntime: idle threads sleep. By default they spin, which took twice the processor time and
was no faster, see docs/results/speed.md."""
Scorer = Callable[[Model], Mapping[str, Any]]
"""Takes the scores of a model, as plain values by name."""
USE = """`chain.onnx` makes samples from noise; `step.onnx` is one step of the chain. Both read their weights
from `weights.bin`, which has to lie beside them:

```python
import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.add_session_config_entry("{waiting}", "{off}")  # idle threads sleep
session = onnxruntime.InferenceSession("chain.onnx", options)
noise = np.random.default_rng(0).standard_normal
shapes = {{i.name: [8 if isinstance(size, str) else size for size in i.shape] for i in session.get_inputs()}}
inputs = {{name: noise(shape).astype(np.float32) for name, shape in shapes.items()}}
{classes}(images,) = session.run(None, inputs)  # (8, {shape}) in [-1, 1]
```

Open the session once and run it often. {difference}"""


class Difference(NamedTuple):
    """How samples of an export differ from those of the model, from the same noise.

    Attributes:
        samples: number of samples compared.
        largest: largest absolute difference of a value.
        mean: mean absolute difference.
        unit: "grey levels", of images of uint8, 0..255; or "values", of other samples.
    """

    samples: int
    largest: float
    mean: float
    unit: str

    def __str__(self) -> str:
        return (
            f"{self.samples} samples differ from those of model.sample by at most {self.largest:.3g} and on "
            f"average {self.mean:.2g} {self.unit}"
        )


class StepGraph(nn.Module):
    """One step of the chain, at any t."""

    outputs = ("x_prev", "prediction")

    def __init__(self, model: DDGAN) -> None:
        super().__init__()
        self.model, self.generator, self.diffusion = model, model.generator, model.diffusion

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        z: Tensor | None = None,
        noise: Tensor | None = None,
        y: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        prediction = self.generator(x_t, t, _or_nothing(z, x_t), _condition(y))
        return self.diffusion.denoise(prediction, x_t, t, x_t if noise is None else noise), prediction

    def inputs(self, n: int, seed: int) -> dict[str, Tensor]:
        """Draw random states at all steps, and the other inputs."""
        model, draw = self.model, ImageNoise(seed, range(n))
        steps = torch.arange(n) % model.diffusion.num_steps + 1
        z = draw(model.config.generator.latent_size)
        given = {"x_t": draw(*model.sample_shape), "t": steps, "z": z, "noise": draw(*model.sample_shape)}
        return used(model, given | {"y": _labels(model, n)})


class ChainModel(DDGAN):
    """A model that samples by chain.onnx.

    Args:
        model: the model that was exported.
        path: its chain.onnx.
    """

    def __init__(self, model: DDGAN, path: Path) -> None:
        super().__init__(model.generator, model.config, model.sample_shape, model.license)
        self.data_checksum = model.data_checksum
        self._session = open_onnx(path)

    def generate(self, noise: ImageNoise, condition: Condition | None) -> Tensor:
        label = None if condition is None else condition.label
        (samples,) = _run(self._session, _chain_inputs(self, noise, label))
        return samples


def chain_inputs(model: DDGAN, n: int, seed: int = 0) -> dict[str, Tensor]:
    """Return the inputs, by name, with which chain.onnx computes `model.sample(n, seed)`."""
    check_seed(seed)
    return _chain_inputs(model, ImageNoise(seed, range(n)), _labels(model, n))


def _chain_inputs(model: DDGAN, noise: Noise, y: Tensor | None) -> dict[str, Tensor]:
    """Draw the inputs of a chain in the order in which `DDGAN.sample` draws them."""
    start = noise(*model.sample_shape)
    z, eps = [], []
    for _ in range(model.diffusion.num_steps):
        z.append(noise(model.config.generator.latent_size))
        eps.append(noise(*model.sample_shape))
    return used(model, {"x_T": start, "z": torch.stack(z, dim=1), "noise": torch.stack(eps, dim=1), "y": y})


def used(model: DDGAN, inputs: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Select the inputs that the model uses."""
    unused = {"z"} if not model.config.generator.latent_size else set()
    unused |= {"noise"} if model.config.diffusion.prediction == "x_prev" else set()
    return {name: value for name, value in inputs.items() if value is not None and name not in unused}


def export_onnx(
    model: DDGAN, out: Path, *, precision: WeightPrecision = "float32", scorer: Scorer | None = None
) -> dict[str, Any]:
    """Write step.onnx, chain.onnx, weights.bin, a card and a record into the folder `out`.

    Args:
        model: the model to export.
        out: the folder to make.
        precision: how weights are stored: "float32", "fp16" or "int8"; see `rounding`.
        scorer: takes scores of the model and of its export, for the card and the record.

    Returns:
        The record: `largest_difference` of the graphs from PyTorch with the same weights, `difference` of
        samples from those of `model.sample`, and `scores` if there is a scorer.

    Raises:
        ValueError: if it is not a denoising diffusion GAN, the precision is unknown or cannot hold a weight,
            or onnxruntime and PyTorch differ; nothing is kept then.
    """
    with export_folder(out) as folder:
        rounded, step = _traced(model, precision)
        save_weights(step.weights, folder / OUTSIDE_NAME)
        onnx.save_model(step.step(), folder / STEP_NAME)
        onnx.save_model(step.chain(rounded.diffusion.num_steps), folder / CHAIN_NAME)
        exported = ChainModel(rounded, folder / CHAIN_NAME)
        differences = {
            STEP_NAME: _step_difference(rounded, folder / STEP_NAME),
            CHAIN_NAME: _chain_difference(rounded, exported),
        }
        original = _on_cpu(model)
        difference = compared(original, exported)
        scores = {} if scorer is None else {"model": scorer(original), "export": scorer(exported)}
        scores = {name: found for name, found in scores.items() if found}
        write_atomically(folder / "README.md", _card(model, out.name, precision, difference, scores))
        record = {
            "to": "onnx",
            "opset": OPSET,
            "precision": precision,
            "largest_difference": differences,
            "difference": difference._asdict(),
            **({"scores": scores} if scores else {}),
        }
        return write_export_record(
            folder, record | metadata_of(model.config, model.sample_shape, model.license)
        )


def write_step(model: DDGAN, path: Path, *, precision: WeightPrecision = "float32") -> float:
    """Write the graph of one step, with its weights, to one file.

    Args:
        model: the model to export.
        path: the file to write, X.onnx.
        precision: how weights are stored; see `rounding`.

    Returns:
        The largest difference of its outputs from those of PyTorch with the same weights.

    Raises:
        ValueError: as `export_onnx`.
    """
    rounded, step = _traced(model, precision)
    onnx.save_model(step.step(), path)
    return _step_difference(rounded, path)


def _card(
    model: DDGAN, name: str, precision: WeightPrecision, difference: Difference, scores: Mapping[str, Any]
) -> str:
    y = f'inputs["y"] = np.arange(8) % {model.num_classes}  # the class of each image\n'
    words = f"The weights are stored in {precision}. From the same noise, {difference}."
    use = USE.replace("{classes}", y if model.num_classes else "").replace("{difference}", words)
    for field, value in zip(("{waiting}", "{off}"), WAITING, strict=True):
        use = use.replace(field, value)
    return model_card(model, name, scores=scores, use=use)


def compared(model: DDGAN, exported: DDGAN) -> Difference:
    """Compare samples of an export with those of the model from the same noise."""
    values = math.prod(model.sample_shape)
    n = max(FEWEST_COMPARED, min(MOST_COMPARED, COMPARED_VALUES // values))
    theirs, ours = model.sample(n), exported.sample(n)
    is_image = has_png_form(model)
    if is_image:
        theirs, ours = to_levels(theirs), to_levels(ours)
    apart = (ours.double() - theirs.double()).abs()
    return Difference(n, float(apart.max()), float(apart.mean()), "grey levels" if is_image else "values")


def _on_cpu(model: DDGAN) -> DDGAN:
    """Copy a model to the CPU, in float32."""
    generator = copy.deepcopy(model.generator).cpu().float()
    other = DDGAN(generator, model.config, model.sample_shape, model.license)
    other.data_checksum = model.data_checksum
    return other


@torch.no_grad()
def _traced(model: DDGAN, precision: WeightPrecision) -> tuple[DDGAN, StepModel]:
    """Round the weights of a copy of a model, and trace one step of it.

    Raises:
        ValueError: if it is not a denoising diffusion GAN, or the precision cannot hold a weight.
    """
    check_ddgan(model, "an export to ONNX")
    rounded = _on_cpu(model)
    stored = round_weights(rounded.generator, check_weight_precision(precision))
    graph = StepGraph(rounded)
    inputs = graph.inputs(TRACED_BATCH, seed=0)
    graph(**inputs)  # fills the cache of FIR matrices, which are constants of the graph
    with _quiet():
        program = torch.onnx.export(
            graph,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes={name: {0: torch.export.Dim("batch")} for name in inputs},
            input_names=list(inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    found = metadata_of(model.config, model.sample_shape, model.license)
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if value != ""
    }
    names = {f"generator.{name}": weight for name, weight in stored.items()}
    return rounded, StepModel(program.model_proto, names, metadata)


def _step_difference(model: DDGAN, path: Path) -> float:
    """Return the largest difference between onnxruntime and PyTorch, at other batch sizes than traced.

    Raises:
        ValueError: if it exceeds TOLERANCE.
    """
    graph, pairs = StepGraph(model), list[tuple[Tensor, Tensor]]()
    for n in CHECKED_BATCHES:
        inputs = graph.inputs(n, seed=n)
        with torch.no_grad():
            pairs += zip(run_onnx(path, inputs), graph(**inputs), strict=True)
    return _largest(pairs, path.name)


def _chain_difference(model: DDGAN, exported: DDGAN) -> float:
    """Do the same for the samples of chain.onnx."""
    pairs = [(exported.sample(n, seed=n), model.sample(n, seed=n)) for n in CHECKED_BATCHES]
    return _largest(pairs, CHAIN_NAME)


def _largest(pairs: list[tuple[Tensor, Tensor]], name: str) -> float:
    apart = torch.stack([(ours - theirs).abs().max() for ours, theirs in pairs])
    largest = float(apart.max())
    if not largest <= TOLERANCE:  # also catches NaN
        raise ValueError(
            f"{name} differs from PyTorch by {largest:.2g}, more than {TOLERANCE:.0e}; nothing was kept"
        )
    return largest


def open_onnx(path: Path, threads: int | None = None) -> Any:
    """Open an ONNX file as an `onnxruntime.InferenceSession` on the CPU, to be run many times.

    Args:
        path: the file; one of an export lies beside its weights.bin.
        threads: number of threads; by default as many as the machine has cores. Idle ones sleep.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*WAITING)
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_onnx(path: Path, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Open an ONNX file and run it once, in onnxruntime on the CPU; returns its outputs.

    To run it more than once, keep the session of `open_onnx`: opening takes longer than running.
    """
    return _run(open_onnx(path), inputs)


def _run(session: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    outputs = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return [torch.from_numpy(output) for output in outputs]


def _condition(y: Tensor | None) -> Condition | None:
    """Convert the input y of a graph to a condition."""
    return None if y is None else Condition(label=y)


def _labels(model: DDGAN, n: int) -> Tensor | None:
    """Return the default classes of samples 0..n-1 in `DDGAN.sample`, int64 (n,); None without classes."""
    condition = model.condition_for(n)
    return None if condition is None else condition.label


def _or_nothing(z: Tensor | None, like: Tensor) -> Tensor:
    """Return z, or an empty latent (B, 0) if it is None."""
    return like.new_zeros(like.shape[0], 0) if z is None else z


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings and messages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
