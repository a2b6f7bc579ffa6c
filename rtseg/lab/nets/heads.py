"""What the instance networks have in common: named output maps, and the module that is exported."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rtseg.lab.nets.backbones import Backbone


@dataclass(frozen=True)
class OutputMap:
    """One named map of a network: (B, channels, H / stride, W / stride); `kind` as in a model card."""

    name: str
    kind: str
    channels: int
    stride: int


class InstanceNetwork(nn.Module):
    """Base of the instance networks: a backbone, and named maps that `forward` gives as a dictionary.

    `forward` gives affinities as logits, which losses want; `ExportedMaps` gives probabilities, which grouping wants.
    """

    backbone: Backbone
    maps: tuple[OutputMap, ...]

    @property
    def backbones(self) -> tuple[Backbone, ...]:
        """Every pretrained part; its parameters' names begin with "backbone"."""
        return (self.backbone,)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the RGB input, 0..255, that the backbone was trained with."""
        return self.backbone.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the RGB input, 0..255."""
        return self.backbone.std


class ExportedMaps(nn.Module):
    """An instance network as the runtime sees it: a tuple in the order of `maps`, affinities as probabilities.

    Args:
        net: the network.
    """

    def __init__(self, net: InstanceNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = self.net(image)
        return tuple(
            torch.sigmoid(maps[entry.name]) if entry.kind == "affinity" else maps[entry.name] for entry in self.net.maps
        )
