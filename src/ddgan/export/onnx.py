"""ONNX: export of one denoising step and of the whole chain, as graphs that run without PyTorch.

step.onnx     x_t (B, ...), t (B,), z (B, nz), noise (B, ...), y (B,) -> x_prev, prediction
chain.onnx    x_T (B, ...), z (B, T, nz), noise (B, T, ...), y (B,) -> x_0; z and noise in order T..1

The batch size B is dynamic; y is the label of the condition. Both graphs are traced from the model's own
chain, and kept only if onnxruntime's results match PyTorch's. Inputs that a model does not use are omitted: z
if nz is 0, noise if the generator outputs x_{t-1}, y if there are no classes. The metadata of each graph is
that of a weights file: settings, the shape of a sample, the licence.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddgan.export.folder import export_folder, write_export_record
from ddgan.models.card import model_card
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.weights_file import metadata_of
from ddgan.networks.conditions import Condition
from ddgan.system.files import write_atomically
from ddgan.system.randomness import ImageNoise

__all__ = ["chain_inputs", "export_onnx", "run_onnx", "write_step"]

TOLERANCE = 1e-4
"""Largest allowed difference from PyTorch, on the scale of images, -1..1."""
OPSET = 18
TRACED_BATCH, CHECKED_BATCHES = 2, (1, 3)
USE = """`chain.onnx` makes samples from noise; `step.onnx` is one step of the chain:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("chain.onnx")
noise = np.random.default_rng(0).standard_normal
shapes = {{i.name: [8 if isinstance(size, str) else size for size in i.shape] for i in session.get_inputs()}}
inputs = {{name: noise(shape).astype(np.float32) for name, shape in shapes.items()}}
{classes}(images,) = session.run(None, inputs)  # (8, {shape}) in [-1, 1]
```"""


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


class ChainGraph(nn.Module):
    """All T steps of the chain."""

    outputs = ("x_0",)

    def __init__(self, model: DDGAN) -> None:
        super().__init__()
        self.model, self.generator, self.diffusion = model, model.generator, model.diffusion

    def forward(
        self,
        x_T: Tensor,  # noqa: N803
        z: Tensor | None = None,
        noise: Tensor | None = None,
        y: Tensor | None = None,
    ) -> Tensor:
        def draw() -> Iterator[Tensor]:
            for step in range(self.diffusion.num_steps):
                yield _or_nothing(None if z is None else z[:, step], x_T)
                yield x_T if noise is None else noise[:, step]

        draws, x = draw(), x_T
        for step in self.model.chain(x_T, lambda *shape: next(draws), condition=_condition(y)):
            x = step.x_prev
        return x

    def inputs(self, n: int, seed: int) -> dict[str, Tensor]:
        """Draw the inputs, see `chain_inputs`."""
        return chain_inputs(self.model, n, seed)


def chain_inputs(model: DDGAN, n: int, seed: int = 0) -> dict[str, Tensor]:
    """Return the inputs, by name, with which chain.onnx computes `model.sample(n, seed)`."""
    start, noise = model.start(seed, range(n))
    z, eps = [], []
    for _ in range(model.diffusion.num_steps):
        z.append(noise(model.config.generator.latent_size))
        eps.append(noise(*model.sample_shape))
    given = {"x_T": start, "z": torch.stack(z, dim=1), "noise": torch.stack(eps, dim=1)}
    return used(model, given | {"y": _labels(model, n)})


def used(model: DDGAN, inputs: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Select the inputs that the model uses."""
    unused = {"z"} if not model.config.generator.latent_size else set()
    unused |= {"noise"} if model.config.diffusion.prediction == "x_prev" else set()
    return {name: value for name, value in inputs.items() if value is not None and name not in unused}


def export_onnx(model: DDGAN, out: Path) -> dict[str, Any]:
    """Write step.onnx, chain.onnx, a card and a record into the folder `out`; returns the record.

    Raises:
        ValueError: if it is not a denoising diffusion GAN, or if onnxruntime and PyTorch differ; no graph is
            kept then.
    """
    check_ddgan(model, "an export to ONNX")
    model = _on_cpu(model)
    graphs: dict[str, StepGraph | ChainGraph] = {
        "step.onnx": StepGraph(model),
        "chain.onnx": ChainGraph(model),
    }
    y = (
        f'inputs["y"] = np.arange(8) % {model.num_classes}  # the class of each image\n'
        if model.num_classes
        else ""
    )
    with export_folder(out) as folder:
        differences = {}
        for name, graph in graphs.items():
            _write(graph, folder / name)
            differences[name] = _checked(graph, folder / name, name)
        card = model_card(model, out.name, use=USE.replace("{classes}", y))
        write_atomically(folder / "README.md", card)
        record = {"to": "onnx", "opset": OPSET, "largest_difference": differences}
        return write_export_record(
            folder, record | metadata_of(model.config, model.sample_shape, model.license)
        )


def write_step(model: DDGAN, path: Path) -> float:
    """Write the graph of one step, with its weights, to one file; returns its difference from PyTorch.

    Raises:
        ValueError: if it is not a denoising diffusion GAN, or if onnxruntime and PyTorch differ.
    """
    check_ddgan(model, "an export to ONNX")
    graph = StepGraph(_on_cpu(model))
    _write(graph, path)
    return _checked(graph, path, path.name)


def _on_cpu(model: DDGAN) -> DDGAN:
    """Copy a model to the CPU, in float32."""
    generator = copy.deepcopy(model.generator).cpu()
    return DDGAN(generator, model.config, model.sample_shape, model.license)


@torch.no_grad()
def _write(graph: StepGraph | ChainGraph, path: Path) -> None:
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
    model = graph.model
    for name, value in metadata_of(model.config, model.sample_shape, model.license).items():
        if value != "":
            program.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    program.save(path)


def _checked(graph: StepGraph | ChainGraph, path: Path, name: str) -> float:
    """Return the largest difference between onnxruntime and PyTorch, at other batch sizes than traced.

    Raises:
        ValueError: if it exceeds TOLERANCE.
    """
    largest = 0.0
    for n in CHECKED_BATCHES:
        inputs = graph.inputs(n, seed=n)
        with torch.no_grad():
            outputs = graph(**inputs)
        expected = outputs if isinstance(outputs, tuple) else (outputs,)
        for ours, theirs in zip(run_onnx(path, inputs), expected, strict=True):
            difference = float((ours - theirs).abs().max())
            if not difference <= TOLERANCE:  # also catches NaN
                raise ValueError(
                    f"{name} differs from PyTorch by {difference:.2g}, more than {TOLERANCE:.0e}; "
                    "nothing was kept"
                )
            largest = max(largest, difference)
    return largest


def run_onnx(path: Path, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Run an ONNX file in onnxruntime on the CPU; returns its outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
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
