"""Distillation of lane networks: a student learns which output each line has from a model that is trained already.

The pairwise loss says only which pixels belong together, so a network from random weights first has to settle which
of its outputs takes which line, and takes long for it. A teacher has settled that.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rtseg.errors import ModelError
from rtseg.lab.training.distillation import pixel_divergence
from rtseg.runtime.backends.onnx_torch import OnnxNetwork
from rtseg.runtime.models import find_model, float_network


class LaneTeacher:
    """The fp32 network of a lane model, asked about the student's own pictures.

    Args:
        model: bundled model or folder with a card.
        lanes: n, line outputs of the student.
        mean: of the student's input, which is taken back before the teacher's own normalization.
        std: of the student's input.
        line_bias: by how much the model's export lowered the background's logit, which is taken back too.
        device: where it runs.

    Raises:
        ModelError: if there is no such model, it has no fp32 network, or other outputs than the student.
    """

    def __init__(
        self,
        model: str,
        lanes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        line_bias: float,
        device: torch.device,
    ) -> None:
        found = find_model(model)
        card = found.card
        outputs = [output.channels for output in card.outputs]
        if card.task != "lanes" or outputs != [lanes + 1]:
            raise ModelError(
                f"expected a lane model of {lanes + 1} outputs as teacher, {model} is a {card.task} model of {outputs}"
            )
        if card.input.order == "bgr":
            raise ModelError(f"expected a teacher that takes RGB, {model} takes BGR")
        self._network = OnnxNetwork(float_network(found), device, torch.float32)
        self._size = (card.input.height, card.input.width)
        # From the student's normalization to the teacher's, in one multiplication and one addition.
        scale = np.divide(std, card.input.std)
        shift = np.subtract(mean, card.input.mean) / card.input.std
        self._scale, self._shift = (
            torch.tensor(values, dtype=torch.float32, device=device).view(3, 1, 1) for values in (scale, shift)
        )
        self._line_bias = line_bias

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Give the teacher's logits (B, n + 1, h, w) for the student's normalized images (B, 3, H, W)."""
        picture = image.float() * self._scale + self._shift
        if picture.shape[2:] != self._size:
            picture = F.interpolate(picture, size=self._size, mode="bilinear", align_corners=False, antialias=True)
        (logits,) = self._network(picture.contiguous(memory_format=torch.channels_last)).values()
        logits[:, 0] += self._line_bias
        return logits


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Weighted mean over pixels of KL(teacher || student), in nats (Hinton et al. 2015, at temperature 1).

    Line pixels are a twentieth of a picture; each pixel counts by the probability that the teacher gives to lines.

    Args:
        student: (B, n + 1, h, w) logits.
        teacher: (B, n + 1, h', w') logits, resized to the student's.
    """
    if teacher.shape[2:] != student.shape[2:]:
        teacher = F.interpolate(teacher, size=student.shape[2:], mode="bilinear", align_corners=False)
    divergence, weight = pixel_divergence(student, teacher)
    return (divergence * weight).sum() / weight.sum()
