"""All scores of instances found on a set of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtseg.lab.scores.instances.cityscapes_ap import CityscapesScore, cityscapes_ap
from rtseg.lab.scores.instances.coco_ap import EXEMPLAR_BANDS, CocoScore, coco_ap
from rtseg.lab.scores.instances.overlaps import Overlaps
from rtseg.lab.scores.instances.panoptic import PanopticScore, panoptic_quality


@dataclass(frozen=True)
class InstanceScores:
    """Shares in [0, 1], NaN where there is nothing to score.

    Attributes:
        cityscapes: mean over classes; None where frames differ in size or the model names no class of the set.
        cityscapes_by_class: empty likewise.
        coco: mean over classes; None where the model names no class of the set.
        coco_by_class: empty likewise.
        agnostic: COCO's, with one class for everything.
        exemplar: the same with the size bands of Exemplar-FreeSOLO, at IoU .5.
        panoptic: PQ averaged over classes; of all instances alike where the model names no class of the set.
        panoptic_by_class: by class, or of ``object``.
        true: true instances by class.
        found: instances found by class.
    """

    cityscapes: CityscapesScore | None
    cityscapes_by_class: dict[str, CityscapesScore]
    coco: CocoScore | None
    coco_by_class: dict[str, CocoScore]
    agnostic: CocoScore
    exemplar: CocoScore
    panoptic: float
    panoptic_by_class: dict[str, PanopticScore]
    true: dict[str, int]
    found: dict[str, int]

    @property
    def ap(self) -> tuple[float, float]:
        """AP and AP50 of Cityscapes; where there is none of COCO, and without classes class-agnostic."""
        first = self.cityscapes or self.coco or self.agnostic
        return first.ap, first.ap50


def score_instances(frames: Sequence[Overlaps], classes: Sequence[str], model_classes: Sequence[str]) -> InstanceScores:
    """Score the overlaps of many frames.

    Args:
        frames: whose classes index `classes`, -1 for one that is not among them.
        classes: of the set.
        model_classes: of the model; where it shares none with the set, everything is one class.

    Raises:
        ConfigError: a scoring tool is not installed.
    """
    one = [frame.class_agnostic() for frame in frames]
    named = bool(set(classes) & set(model_classes))
    fits = named and len({frame.size for frame in frames}) == 1
    cityscapes, cityscapes_by_class = cityscapes_ap(frames, classes) if fits else (None, {})
    coco, coco_by_class = coco_ap(frames, classes) if named else (None, {})
    panoptic, panoptic_by_class = panoptic_quality(frames if named else one, classes if named else ("object",))
    return InstanceScores(
        cityscapes=cityscapes,
        cityscapes_by_class=cityscapes_by_class,
        coco=coco,
        coco_by_class=coco_by_class,
        agnostic=coco_ap(one, ("object",))[0],
        exemplar=coco_ap(one, ("object",), EXEMPLAR_BANDS)[0],
        panoptic=panoptic,
        panoptic_by_class=panoptic_by_class,
        true={name: sum(int((f.true_classes == c).sum()) for f in frames) for c, name in enumerate(classes)},
        found={name: sum(int((f.classes == c).sum()) for f in frames) for c, name in enumerate(classes)},
    )
