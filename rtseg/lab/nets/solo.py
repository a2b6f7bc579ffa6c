"""A SOLO network with mask, category and embedding branches (Exemplar-FreeSOLO, sections 3.2 and 3.4; SOLOv2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtseg.lab.nets.backbones import BackboneName, build_backbone
from rtseg.lab.nets.fpn import NarrowPyramid, conv_bn, prediction_head
from rtseg.lab.nets.heads import InstanceNetwork, OutputMap

STRIDES = (8, 16, 32)
MASK_STRIDE = 4
SHAPE_TERMS = 5
"""Of a kernel, before the weights of the mask features: 1, u, v, u^2, v^2 (see `rtseg.grouping.solo`)."""


class SoloNetwork(InstanceNetwork):
    """Points on three levels, each with a category score, a kernel that makes its mask, and an embedding.

    The grid of a level is its feature map. A kernel weighs the mask features, as in SOLOv2, and a quadratic in the
    distance from its point, with which a mask starts as a disc around the point: coordinates relative to the point
    (CondInst) stand in for SOLOv2's absolute ones, which take far more training to localise.

    Args:
        backbone: name of the backbone.
        channels: of the pyramid and the heads.
        mask_channels: D, mask features.
        embedding: E, dimensions of the embedding branch, those of the free masks' queries.
        head_layers: 3x3 layers of a head, shared by the levels.
        pretrained: start from ImageNet weights.
        weights: file of a ResNet's ImageNet weights.

    Maps: `cate_s{s}` (B, 1, h, w) logits and `kernel_s{s}` (B, 5 + D, h, w) at each stride s of 8, 16 and 32, and
    `mask_features` (B, D, H / 4, W / 4). `embedding_s{s}` (B, E, h, w) is for training only.
    """

    def __init__(
        self,
        backbone: BackboneName = "efficientnet-lite0",
        channels: int = 64,
        mask_channels: int = 16,
        embedding: int = 304,
        head_layers: int = 2,
        pretrained: bool = False,
        weights: str = "",
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, pretrained, weights)
        self.pyramid = NarrowPyramid(self.backbone.channels, channels)
        # A prior of one in a hundred, so that the many empty points do not swamp the start (focal loss, section 3.3).
        self.cate = prediction_head(channels, channels, 1, head_layers, bias=-4.6)
        self.kernel = prediction_head(channels, channels, SHAPE_TERMS + mask_channels, head_layers)
        start = torch.zeros(SHAPE_TERMS + mask_channels)
        start[:SHAPE_TERMS] = torch.tensor([2.0, 0.0, 0.0, -2.0, -2.0])
        last = self.kernel[-1]
        assert isinstance(last, nn.Conv2d)
        last.bias = nn.Parameter(start)
        self.embedding = nn.Conv2d(channels, embedding, 1)
        self.mask = nn.Sequential(conv_bn(channels, channels), nn.Conv2d(channels, mask_channels, 1))
        self.exemplar = MaskGuidedEmbedding(channels)
        self.maps = (
            *(OutputMap(f"cate_s{stride}", "category", 1, stride) for stride in STRIDES),
            *(OutputMap(f"kernel_s{stride}", "kernel", SHAPE_TERMS + mask_channels, stride) for stride in STRIDES),
            OutputMap("mask_features", "mask_features", mask_channels, MASK_STRIDE),
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map (B, 3, H, W) normalized RGB, sides multiples of 32, to the maps by name."""
        levels = self.pyramid(self.backbone(image))
        maps = self._heads(levels)
        if self.training:
            for stride, x in zip(STRIDES, levels[1:], strict=True):
                maps[f"embedding_s{stride}"] = self.embedding(x)
            maps["features"] = levels[2]
        return maps

    def features(self, image: Tensor) -> Tensor:
        """I of section 3.4: the pyramid's map at stride 16, (B, channels, H / 16, W / 16)."""
        levels: list[Tensor] = self.pyramid(self.backbone(image))
        return levels[2]

    def _heads(self, levels: list[Tensor]) -> dict[str, Tensor]:
        maps = {}
        for stride, x in zip(STRIDES, levels[1:], strict=True):
            maps[f"cate_s{stride}"] = self.cate(x)
            maps[f"kernel_s{stride}"] = self.kernel(x)
        maps["mask_features"] = self.mask(levels[0])
        return maps


class MaskGuidedEmbedding(nn.Module):
    """Features of a picture to one vector, guided by a mask found in them (section 3.4 and figure 3).

    Args:
        channels: c, of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, channels, 1)
        self.transform = nn.Conv2d(channels, channels, 1)

    def guide(self, features: Tensor) -> Tensor:
        """The soft prediction mask (B, 2 h, 2 w) in [0, 1]: query times key, normalized (eq 1 for one mask)."""
        query = _upsample(F.normalize(features, dim=1))
        score = (query * self.key(query)).sum(1)
        low, high = score.amin((1, 2), keepdim=True), score.amax((1, 2), keepdim=True)
        score = (score - low) / (high - low).clamp(min=1e-6)
        return torch.where(score > 0.5, score, torch.zeros_like(score))

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean over the mask of the transformed features, (B, c), one vector a picture.

        The paper multiplies mask and features and compares whole maps; without the mean a car on the left could never
        be like one on the right.

        Args:
            features: (B, c, h, w).
            mask: (B, 2 h, 2 w) in [0, 1], what the vector is of; the guide by default.
        """
        weight = self.guide(features) if mask is None else mask
        transformed = self.transform(_upsample(features))
        total = weight.sum((1, 2)).clamp(min=1e-6)
        return (transformed * weight[:, None]).sum((2, 3)) / total[:, None]


def _upsample(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
