"""What networks ask about the axes of signals, images and volumes."""

from __future__ import annotations

import pytest
import torch

from ddgan.config.settings import SettingError
from ddgan.networks.axes import check_spatial, in_words, is_channels_last, per_channel, spatial_axes


@pytest.mark.parametrize("sizes", [(6,), (4, 6), (2, 4, 6)])
def test_values_of_channels_are_beside_the_spatial_axes(sizes: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *sizes)
    assert per_channel(torch.randn(2, 3), x).shape == (2, 3, *[1] * len(sizes))
    assert per_channel(torch.randn(3), x).shape == (3, *[1] * len(sizes))
    torch.testing.assert_close(x.sum(spatial_axes(x)), x.flatten(2).sum(2))


def test_the_innermost_channels_of_images_and_volumes_are_seen() -> None:
    for sizes in ((4, 6), (2, 4, 6)):
        x = torch.randn(2, *sizes, 3).movedim(-1, 1)
        assert is_channels_last(x)
        assert not is_channels_last(x.contiguous())
    assert not is_channels_last(torch.randn(2, 6, 3).movedim(-1, 1))  # PyTorch has no such format of signals


def test_only_signals_images_and_volumes_have_spatial_axes() -> None:
    for shape in ((1, 9), (3, 4, 6), (1, 2, 3, 4)):
        check_spatial("x", shape)
    for shape in ((2,), (1, 2, 3, 4, 5)):
        with pytest.raises(SettingError, match=r"kind is x, which takes signals .*; use the kind mlp"):
            check_spatial("x", shape)
    assert in_words((12, 20)) == "12 x 20"
