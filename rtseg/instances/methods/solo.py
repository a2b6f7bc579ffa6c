"""Exemplar-FreeSOLO: masks that kernels of points make, suppressed and painted into each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ModelError
from rtseg.grouping import GroupedInstances, SoloLevel, SoloSettings, solo_instances, solo_masks
from rtseg.grouping.solo import MASK_STRIDE, SHAPE_TERMS, SoloThresholds
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method
from rtseg.instances.methods.outputs import listed_outputs, pixels_of, strides_of, wanted_outputs
from rtseg.instances.methods.warm_up import paint_nothing
from rtseg.ops.cuda.module import Launcher
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps


class SoloParameters(SoloThresholds, GroupingParameters):
    """See :class:`rtseg.grouping.SoloSettings`."""


class Solo:
    """The decoding of SOLO as a card asks for it.

    Attributes:
        features: the output of mask features.
        levels: the outputs of categories and kernels, level by level.
        settings: thresholds.
    """

    def __init__(self, card: ModelCard, parameters: SoloParameters) -> None:
        strides = strides_of(card, "category")
        if len(card.classes) != 1 or not strides:
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method}, expected one class and outputs of kind "
                f"category and kernel at one or several strides, got {len(card.classes)} classes and "
                f"{listed_outputs(card)}"
            )
        (self.features,) = wanted_outputs(card, {"mask_features": None}, MASK_STRIDE)
        wanted = {"category": 1, "kernel": SHAPE_TERMS + self.features.channels}
        self.levels = [wanted_outputs(card, wanted, stride) for stride in strides]
        chosen = parameters.model_dump(include=set(SoloThresholds.model_fields))
        self.settings = SoloSettings(**chosen, min_pixels=pixels_of(parameters.min_area, MASK_STRIDE))

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        levels = [
            SoloLevel(maps[category.name][0, 0], maps[kernel.name][0], category.stride)
            for category, kernel in self.levels
        ]
        masks = solo_masks(levels, maps[self.features.name][0], self.settings)
        return _described(solo_instances(masks, self.settings))


class SoloOnDevice:
    """The same in fixed buffers of a device; see :class:`rtseg.instances.on_device.MapsOnDevice`.

    Args:
        grouping: as the card asks for it.
        maps: the backend's output buffers.
        launcher: where kernels run.
    """

    def __init__(self, grouping: Solo, maps: dict[str, Any], launcher: Launcher) -> None:
        from rtseg.ops.cuda.solo import SoloPlan

        self._features = maps[grouping.features.name][0]
        self._levels = [(maps[category.name][0, 0], maps[kernel.name][0]) for category, kernel in grouping.levels]
        shapes = [
            (*category.shape, output.stride)
            for (category, _), (output, _) in zip(self._levels, grouping.levels, strict=True)
        ]
        self._plan = SoloPlan(shapes, self._features.shape, **grouping.settings.model_dump(), launcher=launcher)
        size = self._features.shape[1:]
        self.labels, self.guide = launcher.xp.zeros(size, "int32"), launcher.xp.zeros((2, *size), "float32")
        self.class_ids = launcher.xp.zeros(len(self._plan.scores), "int32")
        self.scores, self.count, self.statuses = self._plan.scores, self._plan.count, (self._plan.status,)

    def run(self) -> None:
        self._plan.run(self._levels, self._features, self.labels, self.guide)


def _described(found: GroupedInstances) -> MapInstances:
    """Add what outlines follow to instances on the map of mask features."""
    inside = found.labels > 0
    return MapInstances(found, np.stack([~inside, inside]).astype(np.float32))


def _paint_categories(values: NDArray[np.float32], blocks: NDArray[np.int32]) -> None:
    values[0] = np.where(blocks > 0, 4.0, -9.0)


def _paint_kernels(values: NDArray[np.float32], blocks: NDArray[np.int32]) -> None:
    """Discs of two cells around every point."""
    values[0] = 2.0
    values[3:5] = -2.0


METHOD = Method(
    name="solo",
    parameters=SoloParameters,
    outputs={"category": _paint_categories, "kernel": _paint_kernels, "mask_features": paint_nothing},
    grouping=Solo,
    on_device=SoloOnDevice,
)
