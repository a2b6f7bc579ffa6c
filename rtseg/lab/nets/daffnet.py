"""DaffNet: semantic, affinity and embedding maps on the levels of a feature pyramid (Deep Affinity Net, section 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rtseg.lab.nets.backbones import BackboneName, build_backbone
from rtseg.lab.nets.fpn import DeconvolutionPyramid, NarrowPyramid, prediction_head
from rtseg.lab.nets.heads import InstanceNetwork, OutputMap

STRIDES = (4, 8, 16, 32)


class DaffNet(InstanceNetwork):
    """Network of sections 3.2, 3.4 and 4.2, or a small one of the same outputs.

    Args:
        classes: number of object classes; channel 0 of the semantic maps is background.
        backbone: name of the backbone.
        pyramid: "deconvolution" is the paper's, with leaky ReLU; "narrow" is cheap, with ReLU, which int8 kernels fuse.
        channels: of the pyramid's outputs.
        head_channels: of the heads' inner layers.
        head_layers: 3x3 layers of a head; 2 in the paper.
        embedding: k, dimensions of the grouping embedding.
        finest_embedding: stride of the finest embedding, which serves the finer levels, too. Segments are compared by
            means over it, so that 8 loses nothing and saves the dearest head; the paper has 4.
        coarsest: stride of the coarsest maps; the paper has 32. A small network loses nothing without 16 and 32.
        dilation: of a ResNet's last stage; 4 in the paper.
        pretrained: start from ImageNet weights.
        weights: file of a ResNet's ImageNet weights.

    Maps at each stride s of 4, 8, 16 and 32, up to the coarsest: `semantic_s{s}` (B, 1 + classes, h, w) logits;
    `affinity_s{s}` (B, 2, h, w) logits of each pixel and its right and lower neighbor; from the finest embedding's
    stride on `embedding_s{s}` (B, k, h, w).
    """

    def __init__(
        self,
        classes: int,
        backbone: BackboneName = "efficientnet-lite0",
        pyramid: Literal["narrow", "deconvolution"] = "narrow",
        channels: int = 64,
        head_channels: int = 32,
        head_layers: int = 1,
        embedding: int = 16,
        finest_embedding: Literal[4, 8] = 4,
        coarsest: Literal[8, 16, 32] = 32,
        dilation: int = 1,
        pretrained: bool = False,
        weights: str = "",
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, pretrained, weights, dilation)
        counts = self.backbone.channels
        self._strides = STRIDES[: 1 + STRIDES.index(coarsest)]
        leaky = pyramid == "deconvolution"
        kind = DeconvolutionPyramid if leaky else NarrowPyramid
        self.pyramid = kind(counts, channels, len(self._strides))

        def heads(outputs: int, bias: float = 0.0) -> nn.ModuleList:
            return nn.ModuleList(
                prediction_head(channels, head_channels, outputs, head_layers, leaky, bias) for _ in self._strides
            )

        self.semantic = heads(1 + classes)
        # Most neighbors belong together, so that most affinities should start near one.
        self.affinity = heads(4, bias=2.0)
        self.embedding = heads(embedding)
        finest = STRIDES.index(finest_embedding)
        self._embedded = self._strides[finest:]
        for i in range(finest):
            self.embedding[i] = nn.Identity()  # the others keep their places, and weights their names
        self.maps = tuple(
            OutputMap(f"{kind}_s{stride}", kind, count, stride)
            for stride in self._strides
            for kind, count in (("semantic", 1 + classes), ("affinity", 2), ("embedding", embedding))
            if kind != "embedding" or stride in self._embedded
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map (B, 3, H, W) normalized RGB, sides multiples of 32, to the maps by name."""
        maps = {}
        for i, (stride, x) in enumerate(zip(self._strides, self.pyramid(self.backbone(image)), strict=True)):
            maps[f"semantic_s{stride}"] = self.semantic[i](x)
            maps[f"affinity_s{stride}"] = of_pairs(self.affinity[i](x))
            if stride in self._embedded:
                maps[f"embedding_s{stride}"] = self.embedding[i](x)
        return maps


def of_pairs(affinity: Tensor) -> Tensor:
    """Give each pair of neighbors the mean of the logits of its two sides (section 3.4).

    Args:
        affinity: (B, 4, h, w) logits to the right, lower, left and upper neighbor.

    Returns:
        (B, 2, h, w) of each pixel and its right and lower neighbor. Logits are averaged where the paper says
        affinities, so that a pair on which the two sides disagree still has a gradient. What would lead out of the
        image stays as it is.
    """
    right, lower, left, upper = affinity.unbind(1)
    across = 0.5 * (right[..., :-1] + left[..., 1:])
    along = 0.5 * (lower[..., :-1, :] + upper[..., 1:, :])
    return torch.stack(
        [
            torch.cat([across, right[..., -1:]], -1),
            torch.cat([along, lower[..., -1:, :]], -2),
        ],
        1,
    )
