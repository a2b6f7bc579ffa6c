"""A trained exemplar network's masks of pictures, for the next round of training and for its scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rtseg.errors import ModelError
from rtseg.grouping.solo import SoloLevel, SoloMasks, SoloSettings, solo_masks
from rtseg.lab.nets.solo import STRIDES, SoloNetwork
from rtseg.lab.training.train import load_network
from rtseg.ops import preprocess


@dataclass(frozen=True)
class MaskPredictor:
    """Runs a network on pictures and decodes as the runtime does.

    Attributes:
        net: in evaluation mode.
        size: (height, width) of its input.
        settings: of the decoding.
    """

    net: SoloNetwork
    size: tuple[int, int]
    settings: SoloSettings

    @classmethod
    def load(cls, weights: Path, settings: SoloSettings | None = None) -> MaskPredictor:
        """Open the weights of a training run.

        Raises:
            ModelError: if they are missing, broken, or of another kind of network.
        """
        net, config = load_network(weights)
        if not isinstance(net, SoloNetwork):
            raise ModelError(f"expected weights of an exemplar network in {weights}, got those of {type(net).__name__}")
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(net, (config.input.height, config.input.width), settings or SoloSettings())

    def __call__(self, image: NDArray[np.uint8], size: tuple[int, int] | None = None) -> SoloMasks:
        """Masks of an (H, W, 3) uint8 BGR picture, at stride 4 of the network's input.

        Args:
            image: the picture.
            size: (height, width) to scale it to, multiples of 32; the network's own by default.
        """
        tensor = torch.from_numpy(preprocess(image, size or self.size, self.net.mean, self.net.std))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            maps = self.net(tensor.contiguous(memory_format=torch.channels_last))
        arrays = {name: value[0].float().contiguous().numpy() for name, value in maps.items()}
        levels = [SoloLevel(arrays[f"cate_s{s}"][0], arrays[f"kernel_s{s}"], s) for s in STRIDES]
        return solo_masks(levels, arrays["mask_features"], self.settings)
