"""The Learning-to-Cluster lane network: a feature pyramid whose n + 1 outputs are the lane ids (L2C, section IV)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rtseg.lab.nets.backbones import BackboneName, build_backbone
from rtseg.lab.nets.fpn import FeaturePyramid, conv_bn


class L2CLanes(nn.Module):
    """Network of section IV for lanes: backbone, feature pyramid, two-layer head.

    Args:
        backbone: name of the backbone.
        channels: c of the paper, of the pyramid and of the head's first layer.
        lanes: n, the greatest number of lane lines; the network has n + 1 outputs, 0 being background.
        pretrained: load ImageNet weights where a package ships them (the EfficientNet-Lites).
    """

    def __init__(
        self, backbone: BackboneName = "resnet18", channels: int = 32, lanes: int = 6, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, pretrained)
        self.pyramid = FeaturePyramid(tuple(self.backbone.channels), channels)
        self.head = nn.Sequential(conv_bn(channels, channels), nn.Conv2d(channels, lanes + 1, 1))

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the RGB input, 0..255, that the backbone was trained with."""
        return self.backbone.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the RGB input, 0..255."""
        return self.backbone.std

    @torch.no_grad()
    def lower_background(self, nats: float) -> None:
        """Lower the background's logit everywhere, so that a line needs less than half the probability to win."""
        last = self.head[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        last.bias[0] -= nats

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) normalized RGB, sides multiples of 32, to logits (B, n + 1, H / 4, W / 4)."""
        logits: Tensor = self.head(self.pyramid(list(self.backbone(image))))
        return logits
