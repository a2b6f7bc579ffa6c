"""Distillation of DaffNet: a small network learns the class and affinity maps that a stronger one makes of a picture.

Labels say one class of a pixel at an object's edge and of one that nobody could name; a stronger network says how sure
it is. Where it contradicts the label it is not listened to.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rtseg.errors import ModelError
from rtseg.lab.training.distillation import LEAST_WEIGHT, pixel_divergence
from rtseg.lab.training.instances.config import DaffNetLossConfig
from rtseg.lab.training.instances.daffnet_losses import neighbor_truth, strides_in
from rtseg.lab.training.instances.labels import IGNORED_CLASS, at_stride
from rtseg.loading import load

_LEAST_PROBABILITY = 1e-3


class InstanceTeacher:
    """A trained model of DaffNet, asked about the student's own pictures as a camera's frames are.

    Args:
        model: bundled model or folder with a card.
        classes: of the student.
        mean: of the student's input, which is taken back.
        std: of the student's input.
        threads: of the model's network on a CPU.

    Raises:
        ModelError: if there is no such model, or it is of another family or of other classes.
    """

    def __init__(
        self, model: str, classes: tuple[str, ...], mean: tuple[float, ...], std: tuple[float, ...], threads: int
    ) -> None:
        self._pipeline = load(model, threads=threads)
        card = self._pipeline.card
        if card.family != "daffnet" or card.classes != classes:
            raise ModelError(
                f"expected a model of family daffnet and classes {', '.join(classes)} as teacher, "
                f"{model} is of family {card.family} and has {', '.join(card.classes) or 'none'}"
            )
        self._mean, self._std = (np.reshape(values, (3, 1, 1)).astype(np.float32) for values in (mean, std))

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Give the class logits and affinities in [0, 1], (B, c, h, w) by name, for normalized images (B, 3, H, W)."""
        pictures = np.clip(image.float().cpu().numpy() * self._std + self._mean, 0, 255).round().astype(np.uint8)
        found = [self._pipeline.head_maps(np.ascontiguousarray(one[::-1].transpose(1, 2, 0)))[0] for one in pictures]
        return {
            name: torch.from_numpy(np.concatenate([maps[name] for maps in found])).to(image.device)
            for name in found[0]
            if name.startswith(("semantic", "affinity"))
        }


def belonging(affinity: Tensor, size: tuple[int, int]) -> Tensor:
    """Carry affinities to another grid: how probably neighbors there belong together.

    Two cells of the other grid belong together if no edge between them parts them, so that logarithms add up along the
    way from one center to the other.

    Args:
        affinity: (B, 2 or more, h, w) in [0, 1] to the right and lower neighbor first.
        size: (h', w') of the other grid, which covers the same picture.

    Returns:
        (B, 2, h', w') to the right and lower neighbor; the last column and row of the picture are 1.
    """
    logs = affinity[:, :2].float().clamp(_LEAST_PROBABILITY, 1.0).log()
    # Up to each center, starting with 0 at the first.
    across = F.pad(logs[:, :1, :, :-1].cumsum(3), (1, 0))
    along = F.pad(logs[:, 1:, :-1].cumsum(2), (0, 0, 1, 0))
    ways = F.interpolate(torch.cat([across, along], 1), size=size, mode="bilinear", align_corners=False)
    right = F.pad(ways[:, 0].diff(dim=2), (0, 1))
    lower = F.pad(ways[:, 1].diff(dim=1), (0, 0, 0, 1))
    return torch.stack([right, lower], 1).clamp(max=0.0).exp()


def distillation_losses(
    student: Mapping[str, Tensor],
    teacher: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    weights: DaffNetLossConfig,
) -> Tensor:
    """Divergence from the teacher's classes and affinities, levels and kinds weighing as the labels' losses do.

    Classes by KL(teacher || student) in nats (Hinton et al. 2015, at temperature 1), affinities by cross-entropy less
    what the teacher's own uncertainty makes of it; a pixel counts by how probable an object, or a boundary, is there.

    Args:
        student: outputs of `DaffNet`, logits.
        teacher: of `InstanceTeacher`, at the student's strides at least; grids may be of other sizes.
        batch: `semantic` and `instances`, (B, H, W).
        weights: of the losses.
    """
    total = student["semantic_s4"].new_zeros(())
    for stride, affinity_weight in zip(strides_in(student), weights.affinity, strict=False):
        semantic, affinity = student[f"semantic_s{stride}"], student[f"affinity_s{stride}"]
        size = (semantic.shape[2], semantic.shape[3])
        classes = F.interpolate(teacher[f"semantic_s{stride}"].float(), size=size, mode="bilinear", align_corners=False)
        labels = at_stride(batch["semantic"], stride)
        ids = at_stride(batch["instances"], stride)
        total = total + weights.semantic * _class_divergence(semantic, classes, labels)
        total = total + affinity_weight * _affinity_divergence(
            affinity, belonging(teacher[f"affinity_s{stride}"], size), ids
        )
    return total


def _class_divergence(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    divergence, weight = pixel_divergence(student, teacher)
    weight = weight * ((labels == IGNORED_CLASS) | (teacher.argmax(1) == labels))
    return (divergence * weight).sum() / weight.sum().clamp(min=1.0)


def _affinity_divergence(student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
    truth, known = (values[:, :2] for values in neighbor_truth(ids))
    right = ~known | ((teacher > 0.5) == truth)
    cost = F.binary_cross_entropy_with_logits(student.float(), teacher, reduction="none")
    cost = cost - F.binary_cross_entropy(teacher, teacher, reduction="none")
    weight = (LEAST_WEIGHT + 1.0 - teacher) * right
    return (cost * weight).sum() / weight.sum().clamp(min=1.0)
