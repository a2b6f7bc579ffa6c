"""Feature pyramids and the small convolutional heads on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.01
"""Negative slope of leaky ReLU (DaffNet, section 4.2)."""


def conv_bn(inputs: int, outputs: int, kernel: int = 3, leaky: bool = False, dilation: int = 1) -> nn.Sequential:
    """Convolution of odd kernel, BatchNorm and ReLU or leaky ReLU; the size stays.

    DaffNet uses In-Place Activated BatchNorm here. That saves memory while training and computes the same function as
    plain BatchNorm and leaky ReLU (but for the sign of its scale), which every exporter knows.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(LEAK, inplace=True) if leaky else nn.ReLU(inplace=True),
    )


def prediction_head(
    inputs: int, width: int, outputs: int, layers: int, leaky: bool = False, bias: float = 0.0
) -> nn.Sequential:
    """`layers` 3x3 layers of `width` channels, then a 1x1 convolution to `outputs` maps that starts at `bias`."""
    stack: list[nn.Module] = []
    for i in range(layers):
        stack.append(conv_bn(inputs if i == 0 else width, width, leaky=leaky))
    last = nn.Conv2d(width if layers else inputs, outputs, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]
    return nn.Sequential(*stack, last)


class FeaturePyramid(nn.Module):
    """Conv-Xp of L2C section IV: 3x3 + BN + ReLU to c channels on every stage, upsampled and summed, coarse to fine.

    Args:
        inputs: channel counts of the backbone's outputs, from fine to coarse.
        channels: c of the paper.
    """

    def __init__(self, inputs: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(conv_bn(count, channels) for count in inputs)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return M: (B, c, h, w) at the size of the first (finest) feature map."""
        merged: Tensor | None = None
        for lateral, feature in zip(reversed(self.lateral), reversed(features), strict=True):
            residual = lateral(feature)
            if merged is not None:
                residual = residual + F.interpolate(merged, scale_factor=2.0, mode="bilinear", align_corners=False)
            merged = residual
        assert merged is not None
        return merged


class NarrowPyramid(nn.Module):
    """1x1 lateral layers to one width, nearest upsampling, summation, one 3x3 layer a level: cheap, and fast as int8.

    Args:
        inputs: channel counts of the backbone's outputs, from fine to coarse.
        channels: of every level's output.
        levels: how many are given, the finest ones; all by default.
    """

    def __init__(self, inputs: Sequence[int], channels: int, levels: int | None = None) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(conv_bn(count, channels, 1) for count in inputs)
        self.smooth = nn.ModuleList(conv_bn(channels, channels) for _ in inputs[:levels])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return one map a level, from fine to coarse, each (B, channels, h, w) of its feature map's size."""
        merged: list[Tensor] = []
        for lateral, feature in zip(reversed(self.lateral), reversed(features), strict=True):
            x = lateral(feature)
            merged.append(x + F.interpolate(merged[-1], scale_factor=2.0, mode="nearest") if merged else x)
        return [smooth(x) for smooth, x in zip(self.smooth, reversed(merged), strict=False)]


class DeconvolutionPyramid(nn.Module):
    """The pyramid of DaffNet section 4.2.

    Lateral layers (two 3x3, one 1x1) keep the channels of the three finer stages; a deconvolution and a 1x1 layer bring
    the coarser map to the finer one's size and channels; the two are added, and two 3x3 layers follow. The paper leaves
    the width of these open; here it is one for all levels.

    Args:
        inputs: channel counts of the backbone's outputs, from fine to coarse.
        channels: of every level's output.
        levels: how many are given, the finest ones; all by default.
    """

    def __init__(self, inputs: Sequence[int], channels: int, levels: int | None = None) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(conv_bn(n, n, leaky=True), conv_bn(n, n, leaky=True), nn.Conv2d(n, n, 1)) for n in inputs[:-1]
        )
        self.upsample = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False),
                nn.BatchNorm2d(fine),
                nn.LeakyReLU(LEAK, inplace=True),
                nn.Conv2d(fine, fine, 1),
            )
            for fine, coarse in pairwise(inputs)
        )
        self.smooth = nn.ModuleList(
            nn.Sequential(conv_bn(n, channels, leaky=True), conv_bn(channels, channels, leaky=True))
            for n in inputs[:levels]
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return one map a level, from fine to coarse, each (B, channels, h, w) of its feature map's size."""
        merged = [features[-1]]
        for lateral, upsample, feature in zip(
            reversed(self.lateral), reversed(self.upsample), reversed(features[:-1]), strict=True
        ):
            merged.append(lateral(feature) + upsample(merged[-1]))
        return [smooth(x) for smooth, x in zip(self.smooth, reversed(merged), strict=False)]
