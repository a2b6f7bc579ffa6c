"""Union-find and merging of regions over the affinities of the foreground, for the maps of GMIS or DaffNet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import BackendError, ModelError
from rtseg.grouping import GMIS_OFFSETS, GroupedInstances, affinity_union
from rtseg.grouping.cascade import FOUR_NEIGHBORS
from rtseg.grouping.grouped import channel_means, renumber
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method
from rtseg.instances.methods.outputs import pixels_of, wanted_outputs
from rtseg.instances.methods.semantics import as_classes, foreground_guide, probabilities
from rtseg.instances.methods.warm_up import paint_affinities, paint_channels
from rtseg.ops import upsample_argmax
from rtseg.ops.cuda.module import Launcher
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import Downloads, HeadMaps
from rtseg.settings import Probability


class AffinityUnionParameters(GroupingParameters):
    """See :func:`rtseg.grouping.affinity_union`."""

    superpixel_threshold: Probability = 0.98
    threshold: Probability = 0.5


class AffinityUnion:
    """The class is the most probable one over the mask, and that probability the score.

    Attributes:
        names: of the semantic and the affinity output.
        offsets: of the affinities.
        parameters: of the card.
    """

    def __init__(self, card: ModelCard, parameters: AffinityUnionParameters) -> None:
        self.parameters = parameters
        semantic, affinity = wanted_outputs(card, {"semantic": 1 + len(card.classes), "affinity": None})
        by_channels = {len(GMIS_OFFSETS): GMIS_OFFSETS, 4: FOUR_NEIGHBORS, 2: FOUR_NEIGHBORS[:2]}
        if affinity.channels not in by_channels:
            raise ModelError(
                f"the card of {card.name} gives {affinity.name} {affinity.channels} channels, expected "
                "56 (GMIS) or 4 (DaffNet)"
            )
        self.names = semantic.name, affinity.name
        self.offsets = by_channels[affinity.channels]
        self._least = pixels_of(parameters.min_area, semantic.stride)

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        semantic, affinity = (maps[name][0] for name in self.names)
        semantic = probabilities(semantic)
        settings = self.parameters
        inside = upsample_argmax(semantic, semantic.shape[1:]) > 0
        labels = affinity_union(affinity, self.offsets, settings.superpixel_threshold, settings.threshold, inside)
        return self.describe(labels, semantic)

    def describe(self, labels: NDArray[np.int32], semantic: NDArray[np.float32]) -> MapInstances:
        """Classes and scores of labels (h, w), which are changed in place; `semantic` (1 + C, h, w) probabilities."""
        sizes = np.bincount(labels.reshape(-1))
        keep = sizes >= self._least
        keep[0] = False
        count = len(renumber(labels.reshape(-1), np.where(keep, np.arange(keep.size), 0).astype(np.int32)))
        means, _ = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
        best = (1 + means[:, 1:].argmax(axis=1)).astype(np.int32) if count else np.zeros(0, np.int32)
        scores = np.clip(means[np.arange(count), best], 0.0, 1.0).astype(np.float32)
        return MapInstances(as_classes(GroupedInstances(labels, best, scores)), foreground_guide(semantic))


class AffinityUnionOnDevice:
    """The same in fixed buffers of a device: labels and semantic maps come down, both of the map's size.

    Args:
        grouping: as the card asks for it.
        maps: the backend's output buffers.
        launcher: where kernels run.
    """

    def __init__(self, grouping: AffinityUnion, maps: dict[str, Any], launcher: Launcher) -> None:
        from rtseg.ops.cuda.coloring import ColoringPlan
        from rtseg.ops.cuda.merging import AffinityUnionPlan

        self._grouping = grouping
        self._semantic, self._affinity = (maps[name][0] for name in grouping.names)
        size, settings = tuple(self._semantic.shape[1:]), grouping.parameters
        self._coloring = ColoringPlan(self._semantic.shape, size, launcher)
        self._union = AffinityUnionPlan(
            self._affinity.shape,
            grouping.offsets,
            settings.superpixel_threshold,
            settings.threshold,
            launcher=launcher,
        )
        self._kinds = launcher.xp.zeros(size, "uint8")
        self._labels = launcher.xp.zeros(size, "int32")
        self.downloads = {
            "semantic": self._semantic,
            "labels": self._labels,
            "finite": self._coloring.status,
            "status": self._union.status,
        }

    def run(self) -> None:
        self._coloring.run(self._semantic, self._kinds)
        self._union.run(self._affinity, self._labels, self._kinds.view("bool"))  # any channel but the background's

    def found(self, host: Downloads) -> MapInstances | None:
        from rtseg.ops.cuda.status import BAD_AFFINITY

        bits = int(host["status"][0])
        if host["finite"][0] or bits & BAD_AFFINITY:
            raise BackendError("expected finite semantics and affinities in [0, 1] from the device, got others")
        if bits:  # more regions or edges than the buffers hold: the CPU has no such limits
            return None
        return self._grouping.describe(host["labels"].copy(), probabilities(host["semantic"]))


METHOD = Method(
    name="affinity_union",
    parameters=AffinityUnionParameters,
    outputs={"semantic": paint_channels, "affinity": paint_affinities},
    grouping=AffinityUnion,
    on_device=AffinityUnionOnDevice,
)
