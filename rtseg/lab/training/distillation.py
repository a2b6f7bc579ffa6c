"""What a student of maps is told by a teacher of any kind: how far it is from it, pixel by pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

LEAST_WEIGHT = 0.1  # of a pixel that the teacher is sure of being the usual, beside 1


def pixel_divergence(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """KL(teacher || student) in nats (Hinton et al. 2015, at temperature 1), and how much each pixel counts.

    What is not background is a small part of a picture; a pixel counts by how probable the teacher finds it there.

    Args:
        student: (B, n + 1, h, w) logits, background first.
        teacher: (B, n + 1, h, w) logits.

    Returns:
        Both (B, h, w).
    """
    wanted, found = F.log_softmax(teacher.float(), dim=1), F.log_softmax(student.float(), dim=1)
    return (wanted.exp() * (wanted - found)).sum(1), LEAST_WEIGHT + 1.0 - wanted[:, 0].exp()
