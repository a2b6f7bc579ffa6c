"""The best and the worst frames of an evaluation, drawn with the true outlines."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.report.gallery import Gallery
from rtseg.lab.report.report import Picture
from rtseg.lab.scores.instances.overlaps import Overlaps, ScoredTruth
from rtseg.lab.scores.instances.panoptic import frame_quality
from rtseg.media.overlay import draw_instances
from rtseg.results import Instances

_ENOUGH = 3  # true instances of a frame that can be among the best: a lone car well found shows little


class InstanceSheet:
    """Chooses pictures while the frames go by; frames are ordered by their PQ over all instances.

    Args:
        classes: names of the model's classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._count = 0
        self._worst = Gallery(spread=9, worst=9, apart=1)
        self._best = Gallery(spread=1, worst=9, apart=1)

    def add(self, image: NDArray[np.uint8], found: Instances, truth: ScoredTruth, frame: Overlaps) -> None:
        """Offer one frame; a frame with nothing there and nothing found is passed over."""
        quality = frame_quality(frame if (frame.classes >= 0).any() else frame.class_agnostic())
        if np.isnan(quality):
            return
        picture = draw_with_truth(image, found, truth, self._classes)
        caption = f"{frame.name}: PQ {100 * quality:.0f} %, {len(frame.classes)} found of {len(frame.true_classes)}"
        self._worst.add(self._count, caption, picture, 1.0 - quality)
        if len(frame.true_classes) >= _ENOUGH:
            self._best.add(self._count, caption, picture, quality)
        self._count += 1

    @property
    def worst(self) -> list[Picture]:
        """Worst first."""
        return self._worst.worst

    @property
    def best(self) -> list[Picture]:
        """Best first."""
        return self._best.worst

    @property
    def spread(self) -> list[Picture]:
        """From all over the set."""
        return self._worst.spread


def draw_with_truth(
    image: NDArray[np.uint8], found: Instances, truth: ScoredTruth, classes: tuple[str, ...]
) -> NDArray[np.uint8]:
    """Draw instances found over their image, and outlines of true ones in white, of regions left out in black."""
    picture = draw_instances(image, found, classes, caption="white: truth")
    for labels, color in ((truth.ignored.astype(np.int32), (0, 0, 0)), (truth.labels, (255, 255, 255))):
        # A pixel is on an outline where a label ends within a pixel of it.
        grown = cv2.dilate(labels.astype(np.float32), np.ones((3, 3), np.uint8))
        shrunk = cv2.erode(labels.astype(np.float32), np.ones((3, 3), np.uint8))
        picture[(grown != shrunk) & (labels > 0)] = color
    return picture
