"""Learning to Cluster for any number of instances: colors, classes and centers on one feature map (L2C, IV, V-B)."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rtseg.lab.nets.backbones import BackboneName, build_backbone
from rtseg.lab.nets.fpn import FeaturePyramid, prediction_head
from rtseg.lab.nets.heads import InstanceNetwork, OutputMap

STRIDE = 4
# Offsets to centers reach hundreds of pixels; the last layer works in units of this many.
CENTER_UNIT = 16.0


class PyramidPooling(nn.Module):
    """Means over 1x1, 2x2, 3x3 and 6x6 cells of a map, upsampled bilinearly and added to it, without layers between.

    This is PSPNet's module with the sum that L2C section V-B puts in place of projection and concatenation. Cells need
    not divide the map, which ONNX's pooling cannot do; products and sums can, and matrix products not everywhere:
    TensorRT for RTX has none in float32 for Turing.
    """

    scales = (1, 2, 3, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        height, width = int(x.shape[2]), int(x.shape[3])
        total = x
        for scale in self.scales:
            rows, columns = (torch.from_numpy(_cell_means(size, scale)).to(x) for size in (height, width))
            means = (x.unsqueeze(2) * rows[:, :, None]).sum(3)
            means = (means.unsqueeze(3) * columns).sum(4)
            total = total + F.interpolate(means, (height, width), mode="bilinear", align_corners=False)
        return total


@functools.cache
def _cell_means(size: int, cells: int) -> NDArray[np.float32]:
    """Matrix (cells, size) that averages a line of pixels over cells."""
    pool = np.zeros((cells, size), np.float32)
    for cell in range(cells):
        first, end = cell * size // cells, -(-(cell + 1) * size // cells)
        pool[cell, first:end] = 1.0 / (end - first)
    return pool


class L2CInstances(InstanceNetwork):
    """Network of section IV with the pyramid pooling and the two more heads of section V-B.

    Args:
        classes: number of object classes; channel 0 of the semantic map is background.
        backbone: name of the backbone.
        channels: c, of the pyramid and of the heads' first layers; 512 in the paper.
        colors: n, the number of colors; the network has n + 1 color outputs, 0 being background.
        pretrained: start from ImageNet weights.
        weights: file of a ResNet's ImageNet weights.

    Maps at stride 4: `colors` (B, n + 1, h, w) and `semantic` (B, 1 + classes, h, w) logits, and `centers`
    (B, 2, h, w), the vector (x, y) in input pixels from each pixel to the center of its instance.
    """

    def __init__(
        self,
        classes: int,
        backbone: BackboneName = "resnet50",
        channels: int = 512,
        colors: int = 8,
        pretrained: bool = False,
        weights: str = "",
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, pretrained, weights)
        self.pooling = PyramidPooling()
        self.pyramid = FeaturePyramid(self.backbone.channels, channels)
        self.colors = prediction_head(channels, channels, colors + 1, layers=1)
        self.semantic = prediction_head(channels, channels, 1 + classes, layers=1)
        self.centers = prediction_head(channels, channels, 2, layers=1)
        self.maps = (
            OutputMap("colors", "colors", colors + 1, STRIDE),
            OutputMap("semantic", "semantic", 1 + classes, STRIDE),
            OutputMap("centers", "centers", 2, STRIDE),
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map (B, 3, H, W) normalized RGB, sides multiples of 32, to the maps by name."""
        features = list(self.backbone(image))
        features[-1] = self.pooling(features[-1])
        x = self.pyramid(features)
        return {"colors": self.colors(x), "semantic": self.semantic(x), "centers": CENTER_UNIT * self.centers(x)}
