"""What scoring an instance model gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtseg.lab.scores.instances.scores import InstanceScores
from rtseg.lab.scores.instances.variants import Variant


@dataclass(frozen=True)
class InstanceEvaluation:
    """Scores of a model on a set.

    Attributes:
        dataset: the set, its cities and the number of frames.
        size: (H, W) of the frames; None where they differ.
        frames: how many.
        scores: of the model as it is.
        oracles: rows with true maps.
        ablation: rows of the paper's ablation; None where one network cannot tell.
    """

    dataset: str
    size: tuple[int, int] | None
    frames: int
    scores: InstanceScores
    oracles: tuple[tuple[Variant, InstanceScores], ...] = ()
    ablation: tuple[tuple[Variant, InstanceScores | None], ...] = ()

    def metrics(self) -> dict[str, float]:
        """What a model card says, by metric."""
        ap, ap50 = self.scores.ap
        named = {"AP": ap, "AP50": ap50} if self.scores.coco else {}
        named |= {"PQ": self.scores.panoptic}
        named |= {"class-agnostic AP": self.scores.agnostic.ap, "class-agnostic AP50": self.scores.agnostic.ap50}
        named |= {f"AP, {variant.name}": scores.ap[0] for variant, scores in self.oracles}
        return {name: value for name, value in named.items() if not math.isnan(value)}
