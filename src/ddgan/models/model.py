"""Trained models of any method: sampling, saving, properties.

`Model` is the protocol that scores, reports and exports use; `TrainedModel` is the base class of ddgan's
models. They differ in how they turn noise into samples: in T large steps (`ddgan`), in one (`one_step`), in
many small ones (`gaussian`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args, overload, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.diffusion.process import Diffusion
from ddgan.models.precision import DTYPES, Arithmetic, Precision, choose_precision, computing_in, in_its_type
from ddgan.models.sampling_memory import check_sampling
from ddgan.models.weights_file import WEIGHTS_NAME, write_weights
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import activation_floats
from ddgan.networks.layers import kernels_kept
from ddgan.system import images
from ddgan.system.arguments import check_seed, check_whole
from ddgan.system.memory import available_memory, check_allocation
from ddgan.system.progress import progress_bar
from ddgan.system.randomness import ImageNoise

__all__ = ["Classes", "Model", "Output", "TrainedModel"]

ACTIVATION_BUDGET = 256 * 2**20
"""Bytes that a batch of default size may take at the widest layer of the generator."""
SHARE_OF_FREE = 0.125
"""The same as a share of the available memory: at least so much on a GPU, at most on other devices."""
MOST_AT_ONCE = 16_384
MOST_SAMPLES = 10**9
"""Maximum number of samples of one call; they need not be in memory at once."""
Classes = int | Sequence[int] | None
"""The class of all samples, or of each; None for all classes in turn."""
Output = Literal["tensor", "uint8", "pil"]
"""Type of samples: float32 tensors, uint8 images, or a list of PIL images."""
PRECISION_OF: dict[torch.dtype, Precision] = {dtype: name for name, dtype in DTYPES.items()}


@runtime_checkable
class Model(Protocol):
    """A trained model.

    Attributes:
        config: the settings of its run.
        generator: the network, with EMA weights if the model was trained.
        sample_shape: the shape of one sample.
        conditions: sizes of its conditions.
        nfe: network evaluations per sample.
        precision: precision of the network.
    """

    config: RunConfig
    generator: nn.Module
    license: str
    source: Path | None

    @property
    def device(self) -> torch.device: ...

    @property
    def sample_shape(self) -> tuple[int, ...]: ...

    @property
    def conditions(self) -> ConditionShapes: ...

    @property
    def nfe(self) -> int: ...

    @property
    def precision(self) -> str: ...

    @property
    def is_compiled(self) -> bool: ...

    def default_batch_size(self) -> int:
        """Return how many samples fit in memory at once."""
        ...

    def batches(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        on_batch: Callable[[int], None] | None = None,
        classes: Classes = None,
    ) -> Iterator[Tensor]:
        """Yield n samples in batches (B, *sample_shape); sample i depends only on (seed, i)."""
        ...

    def sample(self, n: int, seed: int = 0, batch_size: int | None = None) -> Tensor:
        """Return n samples (n, *sample_shape), on the CPU."""
        ...

    def save(self, path: str | Path) -> Path:
        """Write weights and settings to one file; return its path."""
        ...


class TrainedModel(ABC):
    """A network and the settings of its training.

    It is not an `nn.Module`, but forwards `to`, `eval`, `train`, `parameters`, `state_dict` and the like to
    its generator.

    Args:
        generator: G(x_t, t, z, condition) -> prediction, with EMA weights if the model was trained.
        config: the settings of the run.
        sample_shape: the shape of one sample, (C, *spatial) or (F,).
        license: licence of the weights, in words; empty if not stated. Every copy of the weights keeps it.

    Attributes:
        source: the file that the weights were read from; None for a model made in memory.
        data_checksum: checksum of the training data, kept in the weights file; empty if it is not known, or
            cannot change, as for data included in the package.
        precision: precision of the generator, "float32", "bf16" or "fp16"; see `set_precision`.
    """

    source: Path | None = None
    data_checksum: str = ""
    precision: Arithmetic = "float32"

    def __init__(
        self, generator: nn.Module, config: RunConfig, sample_shape: Sequence[int], license: str = ""
    ) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.config = config
        self.sample_shape = tuple(sample_shape)
        self.license = license
        self.diffusion = Diffusion(config.diffusion).to(self.device)
        self._network = in_its_type(self.generator)  # used for sampling
        self.is_compiled = False

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(sample_shape={self.sample_shape}, nfe={self.nfe}, "
            f"{self.num_parameters / 1e6:.1f}M parameters, {self.precision} on {self.device})"
        )

    @property
    @abstractmethod
    def nfe(self) -> int:
        """Network evaluations per sample."""

    @abstractmethod
    def generate(self, noise: ImageNoise, condition: Condition | None) -> Tensor:
        """Generate samples (B, *sample_shape) from this noise, on the model's device."""

    @property
    def chain_settings(self) -> dict[str, Any]:
        """Settings of the sampling chain that are not in the configuration, as plain values."""
        return {}

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.generator.parameters()).device

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the generator."""
        return sum(parameter.numel() for parameter in self.generator.parameters())

    @property
    def conditions(self) -> ConditionShapes:
        """Sizes of the model's conditions."""
        return self.config.conditions.shapes

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 if the model was trained without classes."""
        return self.conditions.num_classes

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights; for the precision of computations see `precision`."""
        return next(self.generator.parameters()).dtype

    @property
    def training(self) -> bool:
        """Whether the generator is in training mode; off after opening."""
        return self.generator.training

    def to(
        self, device: torch.device | str | int | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move to a device, change the precision, or both; return the model itself.

        Args:
            device: the new device; or a dtype in its place, as in `nn.Module.to`.
            dtype: torch.float32, torch.bfloat16 or torch.float16, for `set_precision` "float32", "bf16" or
                "fp16": the weights, the chain around the generator and the samples stay float32.

        Raises:
            ValueError: for any other dtype; nothing is moved then.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        if dtype is not None and dtype not in PRECISION_OF:
            raise ValueError(f"dtype is {dtype}; it must be torch.float32, torch.bfloat16 or torch.float16")
        if device is not None:
            for part in (self.generator, self._network, self.diffusion):
                part.to(device)
        return self if dtype is None else self.set_precision(PRECISION_OF[dtype])

    def cpu(self) -> Self:
        """Move to the CPU; return the model itself."""
        return self.to("cpu")

    def cuda(self, device: int | torch.device | str = "cuda") -> Self:
        """Move to a GPU, by default the current one; return the model itself."""
        return self.to(device)

    def train(self, mode: bool = True) -> Self:
        """Turn the generator's training mode on or off; return the model itself.

        ddgan's networks behave the same in both modes; your own may not.
        """
        self.generator.train(mode)
        self._network.train(mode)
        return self

    def eval(self) -> Self:
        """Turn evaluation mode on, as after opening; return the model itself."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Turn gradients of the weights on or off (off after opening); return the model itself."""
        self.generator.requires_grad_(requires_grad)
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the generator's weights, for a trained model EMA weights without gradients."""
        return self.generator.parameters()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the generator's weights with their names, the same as in the weights file."""
        return self.generator.named_parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the generator's state dict, with the names of the weights file."""
        return self.generator.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load weights of the same names and shapes, also into the copy of 16 bits.

        Raises:
            RuntimeError: if names or shapes differ, as `nn.Module.load_state_dict`.
        """
        self.generator.load_state_dict(state_dict)
        if self.precision != "float32":
            self.set_precision(self.precision)

    def set_precision(self, precision: Precision) -> Self:
        """Set the precision of the generator; the weights, and the file of `save`, stay float32.

        Args:
            precision: "float32", "bf16" (relative difference 5e-3 per evaluation of the published networks,
                up to a few hundredths for others), "fp16" (an eighth of that, but values above 65,504
                overflow), or "auto": bf16 if the device has instructions for it, else fp16 on a GPU that is
                fast in it.

        Returns:
            The model itself.

        Raises:
            ValueError: if it is none of these.
        """
        self.precision = choose_precision(precision, self.device)
        self._network = (
            in_its_type(self.generator)
            if self.precision == "float32"
            else computing_in(self.generator, DTYPES[self.precision])
        )
        self.is_compiled = False
        return self

    def compile(self) -> Self:
        """Compile the generator (torch.compile; CUDA graphs on a GPU); return the model.

        The first call at each batch size then takes minutes, which pays off for many thousands of images.
        `batches` therefore makes its last batch as large as the others.
        """
        x = torch.zeros(1, *self.sample_shape, device=self.device)
        z = torch.zeros(1, self.config.generator.latent_size, device=self.device)
        t = torch.ones(1, dtype=torch.int64, device=self.device)
        with torch.no_grad():  # so that lazily made buffers exist, see `resample`
            self._network(x, t, z, self.condition_for(1))
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        self._network.compile(mode=mode, dynamic=False)
        self.is_compiled = True
        return self

    def predict(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None) -> Tensor:
        """Return the generator's output, cloned if compiled, as a compiled network may overwrite it."""
        output: Tensor = self._network(x_t, t, z, condition)
        return output.clone() if self.is_compiled else output

    def default_batch_size(self) -> int:
        """Return how many samples fit the memory budget at once."""
        budget, available = ACTIVATION_BUDGET, available_memory(self.device)
        if available is not None:
            share = int(SHARE_OF_FREE * available)
            budget = max(budget, share) if self.device.type == "cuda" else min(budget, share)
        floats = activation_floats(self.config.generator, self.sample_shape)
        return max(1, min(MOST_AT_ONCE, budget // (4 * floats)))

    def grid_columns(self) -> int | None:
        """Return the columns of a sample grid: one per class for 2..20 classes, else None (nearly square)."""
        return self.num_classes if 1 < self.num_classes <= 20 else None

    @torch.no_grad()
    def batches(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        on_batch: Callable[[int], None] | None = None,
        classes: Classes = None,
        *,
        start: int = 0,
    ) -> Iterator[Tensor]:
        """Yield n samples in batches (B, *sample_shape), on the model's device.

        `on_batch` is called with the number of samples of each finished batch; batches that end at or before
        sample `start` are skipped. For the other arguments and errors see `sample`.
        """
        parts = self.split(n, batch_size)
        check_seed(seed)
        condition = self.condition_for(n, classes)
        with kernels_kept(self._network):
            for indices in parts:
                if indices.stop <= start:
                    continue
                count = len(indices)
                if self.is_compiled:
                    indices = range(indices.start, indices.start + len(parts[0]))
                # If a batch is padded beyond the last image, conditions wrap around.
                samples = self.generate(
                    ImageNoise(seed, indices, self.device), _rolled(condition, indices.start, len(indices))
                )
                if on_batch is not None:
                    on_batch(count)
                yield samples[:count]

    @overload
    def sample(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        *,
        classes: Classes = None,
        output: Literal["tensor", "uint8"] = "tensor",
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> Tensor: ...

    @overload
    def sample(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        *,
        classes: Classes = None,
        output: Literal["pil"],
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> list[Image.Image]: ...

    def sample(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        *,
        classes: Classes = None,
        output: Output = "tensor",
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> Tensor | list[Image.Image]:
        """Generate n samples: by default float32 (n, *sample_shape) on the CPU, images in [-1, 1].

        Image i depends only on (seed, i): n and the batch size change it only by rounding (about 1e-7 in
        float32, up to about a grey level in bf16).

        Args:
            n: number of samples, at least 1.
            seed: 0 or more.
            batch_size: samples at a time; by default as memory allows.
            classes: the class of all samples, or of each, in 0..num_classes, where num_classes is the
                null class; by default sample i has class i modulo num_classes.
            output: "tensor"; "uint8" for images (n, C, H, W) in 0..255, the pixels that `ddgan sample`
                writes; or "pil" for a list of n PIL images: grey (1 channel), grey with alpha (2), RGB (3) or
                RGBA (4).
            device: device of the returned tensor; not used for PIL images.
            progress: show a progress bar.

        Raises:
            ValueError: if an argument is out of range, classes are given to a model without classes, samples
                are not images that `output` can hold, or an image has a value that is not finite.
        """
        check_output(output, self.sample_shape)
        check_whole("n", n)
        where = torch.device("cpu" if output == "pil" else device)
        size = n * math.prod(self.sample_shape) * (4 if output == "tensor" else 1)
        check_allocation(size, f"n is {n:,}: so many samples", "use `batches`, or fewer samples", where)
        batches = []
        with progress_bar("sampling", n, enabled=progress) as advance:
            for batch in self.batches(n, seed, batch_size, advance, classes):
                if output != "tensor":
                    batch = images.to_levels(images.finite(batch))
                batches.append(batch.to(where))
        samples = torch.cat(batches)
        return samples if output != "pil" else [images.to_pil(i) for i in samples.permute(0, 2, 3, 1).numpy()]

    def condition_for(self, n: int, classes: Classes = None) -> Condition | None:
        """Return the condition of n samples, on the model's device; None for an unconditional model.

        Raises:
            ValueError: if a class is unknown, or the model has no classes.
        """
        count = self.num_classes
        if classes is None:
            return Condition(label=torch.arange(n, device=self.device) % count) if count else None
        if not count:
            raise ValueError("classes were given, but this model was trained without classes; leave them out")
        y = torch.as_tensor(classes).expand(n) if isinstance(classes, int) else torch.as_tensor(classes)
        if y.shape != (n,):
            raise ValueError(f"classes has {y.numel()} entries; it must be one class, or {n}: one per sample")
        if y.min() < 0 or y.max() > count:
            wrong = int(y[(y < 0) | (y > count)][0])
            raise ValueError(f"class {wrong} is unknown; classes are 0..{count - 1}, and {count} for none")
        return Condition(label=y.to(self.device, torch.int64))

    def split(self, n: int, batch_size: int | None = None) -> list[range]:
        """Split 0..n-1 into batches of nearly equal size, by default as large as memory allows.

        Raises:
            ValueError: if either is out of range, or memory does not allow so large a batch.
        """
        parts = in_batches(n, self.default_batch_size() if batch_size is None else batch_size)
        check_sampling(self.config, self.sample_shape, len(parts[0]), self.device)
        return parts

    def save(self, path: str | Path) -> Path:
        """Write the weights and the whole configuration to one .safetensors file; return its path.

        In a folder the file is named model.safetensors. It is written atomically.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            path.mkdir(parents=True, exist_ok=True)
            path = path / WEIGHTS_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = self.generator.state_dict()
        write_weights(path, tensors, self.config, self.sample_shape, self.license, self.data_checksum)
        return path


def check_output(output: str, sample_shape: Sequence[int]) -> None:
    """Check that `sample` has this output, for samples of this shape.

    Raises:
        ValueError: naming the valid outputs, or the shape.
    """
    if output not in get_args(Output):
        raise ValueError(f"output is '{output}'; it must be one of {', '.join(get_args(Output))}")
    is_image = len(sample_shape) == 3 if output == "uint8" else images.has_png_form(sample_shape)
    if output != "tensor" and not is_image:
        kind = "images" if output == "uint8" else "images of 1 to 4 channels"
        raise ValueError(
            f"output is '{output}', but samples of shape {tuple(sample_shape)} are not {kind}; "
            "use output='tensor'"
        )


def in_batches(n: int, batch_size: int) -> list[range]:
    """Split 0..n-1 into batches of nearly equal size, at most `batch_size`.

    Raises:
        ValueError: if either is not a whole number, or out of range.
    """
    check_whole("n", n)
    check_whole("batch_size", batch_size)
    if not 1 <= n <= MOST_SAMPLES:
        rule = "at least 1" if n < 1 else f"at most {MOST_SAMPLES:,}"
        raise ValueError(f"n is {n}; it must be {rule}")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    size = math.ceil(n / math.ceil(n / batch_size))
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


def _rolled(condition: Condition | None, start: int, count: int) -> Condition | None:
    return None if condition is None else condition.map(lambda part: part.roll(-start, 0)[:count])
