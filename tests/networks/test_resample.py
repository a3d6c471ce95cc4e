"""FIR resampling against scipy, and its derivatives against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from torch import Tensor

from ddgan.networks import resample

TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8
SIZES = [(2, 2), (8, 8), (9, 9), (16, 16), (32, 32), (64, 64), (66, 66), (6, 10), (12, 80), (128, 4)]
"""Both sides of each place where the implementation changes its way of computing."""


def image(height: int, width: int, batch: int = 2, channels: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(batch, channels, height, width, generator=rng, dtype=torch.float64)


def by_scipy(x: Tensor, filter_one: object) -> Tensor:
    planes = x.flatten(0, 1).numpy()
    filtered = np.stack([filter_one(plane) for plane in planes])  # type: ignore[operator]
    return torch.from_numpy(filtered).unflatten(0, x.shape[:2])


def scipy_down(plane: np.ndarray) -> np.ndarray:
    full = signal.convolve2d(plane, np.outer(TAPS, TAPS), mode="full")  # the kernel is symmetric
    return full[2:-1:2, 2:-1:2]


def scipy_up(plane: np.ndarray) -> np.ndarray:
    """scipy's own polyphase filter, which inserts zeros, with twice the gain to keep the mean."""
    for axis in (0, 1):
        full = signal.upfirdn(2 * TAPS, plane, up=2, axis=axis)  # 2 n + 2 values
        plane = np.take(full, range(1, full.shape[axis] - 1), axis=axis)
    return plane


@pytest.mark.parametrize(("height", "width"), [size for size in SIZES if size != (9, 9)])
def test_downsample_equals_scipy(height: int, width: int) -> None:
    x = image(height, width)
    torch.testing.assert_close(resample.downsample(x), by_scipy(x, scipy_down))


@pytest.mark.parametrize(("height", "width"), [*SIZES, (1, 1), (3, 5)])
def test_upsample_equals_scipy(height: int, width: int) -> None:
    x = image(height, width)
    expected = by_scipy(x, scipy_up)
    assert expected.shape[2:] == (2 * height, 2 * width)
    torch.testing.assert_close(resample.upsample(x), expected)


@pytest.mark.parametrize("padding", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 8), (9, 9), (32, 32), (70, 70), (5, 90)])
def test_blur_equals_scipy(height: int, width: int, padding: int) -> None:
    x = image(height, width)
    kernel = np.outer(TAPS, TAPS)
    expected = by_scipy(x, lambda plane: signal.convolve2d(np.pad(plane, padding), kernel, mode="valid"))
    assert expected.shape[2:] == (height + 2 * padding - 3, width + 2 * padding - 3)
    torch.testing.assert_close(resample.blur(x, padding), expected)


ANY_SIZES = [(2,), (10,), (64,), (96,), (2, 2, 2), (8, 12, 10), (4, 70, 2)]
"""Signals and volumes, by matrices and by convolutions."""
ALONG_ONE_AXIS = {
    "down": lambda values: np.convolve(values, TAPS)[2:-1:2],
    "up": lambda values: signal.upfirdn(2 * TAPS, values, up=2)[1:-1],
    "blur": lambda values: np.convolve(np.pad(values, 2), TAPS, mode="valid"),
}


def samples(*sizes: int, batch: int = 2, channels: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(batch, channels, *sizes, generator=rng, dtype=torch.float64)


OPERATIONS = {
    "down": resample.downsample,
    "up": resample.upsample,
    "blur": lambda x: resample.blur(x, 2),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [4, 10])
def test_second_derivatives_are_exact(name: str, size: int) -> None:
    x = image(size, size, batch=1, channels=1).requires_grad_()

    def bent(x: Tensor) -> Tensor:  # a linear map has no second derivative of its own
        return OPERATIONS[name](x.sin()).tanh()

    assert torch.autograd.gradcheck(bent, (x,))
    assert torch.autograd.gradgradcheck(bent, (x,))


@pytest.mark.parametrize("name", OPERATIONS)
def test_second_derivatives_of_the_convolution(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "LARGEST_MATRIX", 2)
    x = image(4, 6, batch=1, channels=2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: OPERATIONS[name](x.sin()).tanh(), (x,))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_all_ways_of_computing_agree(height: int, width: int) -> None:
    x = image(2 * height, 2 * width)
    by_matrix = {name: operation(x) for name, operation in OPERATIONS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "LARGEST_MATRIX", 0)
        for name, operation in OPERATIONS.items():
            torch.testing.assert_close(operation(x), by_matrix[name])


def test_a_constant_image_stays_constant_inside() -> None:
    ones = torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(resample.upsample(ones)[..., 2:-2, 2:-2], torch.ones(1, 1, 28, 28))
    torch.testing.assert_close(resample.downsample(ones)[..., 1:-1, 1:-1], torch.ones(1, 1, 6, 6))


def test_matrices_made_for_inference_can_train() -> None:
    x = torch.randn(1, 1, 14, 14)
    with torch.inference_mode():
        resample.downsample(x)
    resample.downsample(x.requires_grad_()).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [8, 16, 128])
def test_a_second_call_makes_no_tensor_of_numbers(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would have to be copied to a GPU, and wait for it; no graph can record that."""
    x = torch.randn(1, 2, size, size)
    first = OPERATIONS[name](x)
    for maker in ("tensor", "zeros"):
        monkeypatch.setattr(torch, maker, None)
    torch.testing.assert_close(OPERATIONS[name](x), first)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [4, 8, 10, 32])
def test_the_order_in_memory_does_not_matter(name: str, size: int) -> None:
    x = torch.randn(2, resample.FEWEST_INNER, size, size, dtype=torch.float64)
    expected = OPERATIONS[name](x)
    found = OPERATIONS[name](x.to(memory_format=torch.channels_last))
    assert (found - expected).abs().max() < 1e-12
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", OPERATIONS)
def test_second_derivatives_with_the_channels_innermost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "FEWEST_INNER", 2)
    for size in (4, 10):
        x = torch.randn(1, 2, size, size, dtype=torch.float64).to(memory_format=torch.channels_last)
        assert torch.autograd.gradgradcheck(lambda x: OPERATIONS[name](x), x.requires_grad_())


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("sizes", ANY_SIZES, ids=str)
def test_signals_and_volumes_are_filtered_along_each_axis(name: str, sizes: tuple[int, ...]) -> None:
    x = samples(*sizes)
    expected = x.numpy()
    for axis in range(2, x.ndim):
        expected = np.apply_along_axis(ALONG_ONE_AXIS[name], axis, expected)
    torch.testing.assert_close(OPERATIONS[name](x), torch.from_numpy(expected))


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=3), largest=st.sampled_from([0, 64]))
def test_an_outer_product_stays_one(name: str, sizes: list[int], largest: int) -> None:
    """Of signals, whatever is the number of axes, and also where the filter is a convolution."""
    signals = [samples(2 * size, batch=1, channels=1)[0, 0] for size in sizes]
    letters = "abc"[: len(sizes)]
    product = f"{','.join(letters)}->{letters}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "LARGEST_MATRIX", largest)
        found = OPERATIONS[name](torch.einsum(product, *signals)[None, None])[0, 0]
        each = [OPERATIONS[name](one[None, None])[0, 0] for one in signals]
    torch.testing.assert_close(found, torch.einsum(product, *each))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("largest", [0, 64])
def test_second_derivatives_of_signals_and_volumes(
    name: str, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resample, "LARGEST_MATRIX", largest)
    for sizes in ((4,), (2, 2, 4)):
        x = samples(*sizes, batch=1, channels=1).requires_grad_()
        assert torch.autograd.gradgradcheck(lambda x: OPERATIONS[name](x.sin()).tanh(), (x,))


@pytest.mark.parametrize("name", OPERATIONS)
def test_volumes_with_the_channels_innermost(name: str) -> None:
    x = samples(4, 6, 10, channels=resample.FEWEST_INNER)
    found = OPERATIONS[name](x.contiguous(memory_format=torch.channels_last_3d))
    assert (found - OPERATIONS[name](x)).abs().max() < 1e-12
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
