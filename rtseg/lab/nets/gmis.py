"""GMIS: a semantic and an affinity branch with atrous spatial pyramid pooling (Affinity Derivation, section 3)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtseg.grouping import GMIS_OFFSETS
from rtseg.lab.nets.backbones import Backbone, BackboneName, build_backbone
from rtseg.lab.nets.fpn import conv_bn
from rtseg.lab.nets.heads import InstanceNetwork, OutputMap

STRIDE = 4


class SpatialPyramid(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabv3; figure 3): 1x1, three dilated 3x3 layers, the image's mean, merged.

    Args:
        inputs: channels of the map.
        channels: of each part and of the result.
        rates: dilations; 6, 12 and 18 at output stride 16, twice that at 8.
    """

    def __init__(self, inputs: int, channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.point = conv_bn(inputs, channels, 1)
        self.atrous = nn.ModuleList(conv_bn(inputs, channels, 3, dilation=rate) for rate in rates)
        # One value a channel has no variance in a batch of one picture, so this part has a bias in place of BatchNorm.
        self.mean = nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.ReLU(inplace=True))
        self.merge = conv_bn((2 + len(rates)) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, channels, h, w)."""
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        merged: Tensor = self.merge(torch.cat([self.point(x), *(part(x) for part in self.atrous), mean], 1))
        return merged


class Branch(nn.Module):
    """From a backbone's features to maps at stride 4.

    Without `skip` this is figure 3: pyramid pooling, a 1x1 layer, upsampling. With it the pooled features are upsampled
    first and two 3x3 layers see them beside the features at stride 4, as DeepLabv3+ does.
    """

    def __init__(
        self, inputs: int, fine: int, channels: int, outputs: int, rates: tuple[int, ...], factor: int, skip: bool
    ) -> None:
        super().__init__()
        self.factor = factor
        self.pooling = SpatialPyramid(inputs, channels, rates)
        self.skip: nn.Module | None = None
        self.refine = nn.Sequential()
        if skip:
            narrow = max(8, channels // 4)
            self.skip = conv_bn(fine, narrow, 1)
            self.refine = nn.Sequential(conv_bn(channels + narrow, channels), conv_bn(channels, channels))
        self.predict = nn.Conv2d(channels, outputs, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        x = self.pooling(coarse)
        if self.skip is None:
            x = self.predict(x)
        x = F.interpolate(x, scale_factor=float(self.factor), mode="bilinear", align_corners=False)
        if self.skip is None:
            return x
        predicted: Tensor = self.predict(self.refine(torch.cat([x, self.skip(fine)], 1)))
        return predicted


class GMIS(InstanceNetwork):
    """Networks of sections 3.2 and 3.3.

    Args:
        classes: number of object classes; channel 0 of the semantic map is background.
        backbone: name of the backbone.
        output_stride: of the backbone's last features: 16, or 8.
        channels: of the pyramid pooling; 256 in DeepLabv3.
        shared: one backbone for both branches; the paper has two networks.
        skip: refine with features at stride 4; the paper does not.
        pretrained: start from ImageNet weights.
        weights: file of a ResNet's ImageNet weights.

    Maps at stride 4: `semantic` (B, 1 + classes, h, w) and `affinity` (B, 56, h, w) logits, the latter in the order of
    `rtseg.grouping.GMIS_OFFSETS`, whose distances count pixels of the map.
    """

    def __init__(
        self,
        classes: int,
        backbone: BackboneName = "resnet50",
        output_stride: Literal[8, 16] = 16,
        channels: int = 256,
        shared: bool = False,
        skip: bool = False,
        pretrained: bool = False,
        weights: str = "",
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, pretrained, weights, output_stride=output_stride)
        self.backbone_affinity: Backbone | None = None
        if not shared:
            self.backbone_affinity = build_backbone(backbone, pretrained, weights, output_stride=output_stride)
        fine, coarse = self.backbone.channels[0], self.backbone.channels[-1]
        rates = tuple(rate * 16 // output_stride for rate in (6, 12, 18))

        def branch(outputs: int) -> Branch:
            return Branch(coarse, fine, channels, outputs, rates, output_stride // STRIDE, skip)

        self.semantic = branch(1 + classes)
        self.affinity = branch(len(GMIS_OFFSETS))
        self.maps = (
            OutputMap("semantic", "semantic", 1 + classes, STRIDE),
            OutputMap("affinity", "affinity", len(GMIS_OFFSETS), STRIDE),
        )

    @property
    def backbones(self) -> tuple[Backbone, ...]:
        """The semantic branch's, and the affinity branch's own where it has one."""
        return (self.backbone,) if self.backbone_affinity is None else (self.backbone, self.backbone_affinity)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map (B, 3, H, W) normalized RGB, sides multiples of 32, to the maps by name."""
        features = self.backbone(image)
        others = features if self.backbone_affinity is None else self.backbone_affinity(image)
        return {
            "semantic": self.semantic(features[-1], features[0]),
            "affinity": self.affinity(others[-1], others[0]),
        }
