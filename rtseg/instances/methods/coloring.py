"""L2C: connected components of the colors, merged where their predicted centers agree (sections III-B, V-B)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.grouping import GroupedInstances, color_components
from rtseg.grouping.grouped import channel_means, renumber
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method
from rtseg.instances.methods.outputs import pixels_of, wanted_outputs
from rtseg.instances.methods.semantics import as_classes, probabilities
from rtseg.instances.methods.warm_up import paint_channels, paint_nothing
from rtseg.ops import upsample_argmax
from rtseg.ops.cuda.module import Launcher
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps


class ColoringParameters(GroupingParameters):
    """Centers within `merge_distance` input pixels merge; an area of `score_area` scores 1.

    With `intersect`, as in section III-C, only those pixels of an instance stay whose own class is the instance's.
    """

    merge_distance: Annotated[float, Field(ge=0, le=10_000)] = 20.0
    score_area: Annotated[float, Field(gt=0, le=10**7)] = 1500.0
    connectivity: Literal[4, 8] = 8
    intersect: bool = True


class Coloring:
    """The class is the argmax of the mean semantic probability over the mask; one whose best is background is none.

    The score is min(1, area / 1500).

    Attributes:
        names: of the outputs of colors, semantics and centers.
        stride: of all three.
        parameters: of the card.
        least: smallest instance, map pixels.
    """

    def __init__(self, card: ModelCard, parameters: ColoringParameters) -> None:
        self.parameters = parameters
        wanted = {"colors": None, "semantic": 1 + len(card.classes), "centers": 2}
        outputs = wanted_outputs(card, wanted)
        self.names, self.stride = tuple(output.name for output in outputs), outputs[0].stride
        self.least = pixels_of(parameters.min_area, self.stride)

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        colors, semantic, offsets = (maps[name][0] for name in self.names)
        semantic = probabilities(semantic)
        height, width = colors.shape[1:]
        stride, settings, least = self.stride, self.parameters, self.least
        ids = upsample_argmax(colors, (height, width))
        centers = np.empty_like(offsets)
        centers[0] = offsets[0] + (stride * (np.arange(width, dtype=np.float32) + 0.5) - 0.5)
        centers[1] = offsets[1] + (stride * (np.arange(height, dtype=np.float32) + 0.5) - 0.5)[:, None]
        labels = color_components(ids, centers, settings.merge_distance, least, settings.connectivity)
        count = int(labels.max(initial=0))
        means, sizes = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
        best = means.argmax(axis=1).astype(np.int32) if count else np.zeros(0, np.int32)
        guide = colors
        if settings.intersect:
            guide = _intersect(labels, best, semantic, colors, ids)
            sizes = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
            best[sizes < least] = 0
        scores = np.minimum(1.0, sizes * stride**2 / settings.score_area).astype(np.float32)
        return MapInstances(_things_only(labels, best, scores), guide)


def _intersect(
    labels: NDArray[np.int32],
    channels: NDArray[np.int32],
    semantic: NDArray[np.float32],
    colors: NDArray[np.float32],
    ids: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Take pixels of another class out of `labels`, in place; gives `colors` in which background wins there."""
    own = np.concatenate([np.zeros(1, np.int32), channels])[labels]
    rows, columns = np.nonzero((labels > 0) & (semantic.argmax(axis=0) != own))
    labels[rows, columns] = 0
    guide = colors.copy()
    winners = ids[rows, columns]
    guide[0, rows, columns], guide[winners, rows, columns] = colors[winners, rows, columns], colors[0, rows, columns]
    return guide


def _things_only(
    labels: NDArray[np.int32], channels: NDArray[np.int32], scores: NDArray[np.float32]
) -> GroupedInstances:
    """Leave out what is background, and number the others in raster order; `labels` is changed in place."""
    mapping = np.arange(len(channels) + 1, dtype=np.int32)
    mapping[1:][channels <= 0] = 0
    kept = renumber(labels.reshape(-1), mapping) - 1
    return as_classes(GroupedInstances(labels, channels[kept], scores[kept]))


class ColoringOnDevice:
    """The same in fixed buffers of a device; see :class:`rtseg.instances.on_device.MapsOnDevice`.

    Args:
        grouping: as the card asks for it, without the intersection.
        maps: the backend's output buffers.
        launcher: where kernels run.
    """

    def __init__(self, grouping: Coloring, maps: dict[str, Any], launcher: Launcher) -> None:
        from rtseg.ops.cuda.coloring import ColoringPlan
        from rtseg.ops.cuda.components import ComponentsPlan
        from rtseg.ops.cuda.regions import ColorJoinPlan, RegionTable

        self.guide, self._semantic, self._centers = (maps[name][0] for name in grouping.names)
        settings, xp, size = grouping.parameters, launcher.xp, tuple(self.guide.shape[1:])
        self._coloring = ColoringPlan(self.guide.shape, size, launcher)
        self._components = ComponentsPlan(size, settings.connectivity, launcher)
        regions = size[0] * size[1]
        table = self._table = RegionTable(self._semantic.shape, 2, regions, launcher=launcher)
        self._stride = grouping.stride
        limits = settings.merge_distance, grouping.least, self._stride**2, settings.score_area
        self._join = ColorJoinPlan(table, regions, *limits, launcher=launcher)
        self._colors, self.labels = xp.zeros(size, "uint8"), xp.zeros(size, "int32")
        self.class_ids, self.scores, self.count = table.class_ids, table.scores, table.count
        self.statuses = self._coloring.status, table.status

    def run(self) -> None:
        self._coloring.run(self.guide, self._colors)
        self._components.run(self._colors, self.labels)
        self._table.measure(self.labels, self._semantic, self._centers, self._stride)
        self._join.run(self._components.count)
        self._table.rename(self.labels)


METHOD = Method(
    name="coloring",
    parameters=ColoringParameters,
    outputs={"colors": paint_channels, "semantic": paint_channels, "centers": paint_nothing},
    grouping=Coloring,
    on_device=ColoringOnDevice,
    fits_device=lambda grouping: not grouping.parameters.intersect,
)
