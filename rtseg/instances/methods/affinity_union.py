"""Union-find and merging of regions over the affinities of the foreground, for the maps of GMIS or DaffNet."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.errors import GroupingError, ModelError
from rtseg.grouping import GMIS_OFFSETS, GroupedInstances, affinity_union
from rtseg.grouping.cascade import FOUR_NEIGHBORS, drop_small, join_apart
from rtseg.grouping.grouped import channel_means, renumber
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method
from rtseg.instances.methods.outputs import embedding_output, listed_outputs, pixels_of, wanted_outputs
from rtseg.instances.methods.semantics import as_classes, foreground_guide, probabilities
from rtseg.instances.methods.warm_up import paint_affinities, paint_channels, paint_nothing
from rtseg.ops import upsample_argmax
from rtseg.ops.cuda.merging import wide_rounds
from rtseg.ops.cuda.module import Launcher
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps
from rtseg.settings import Probability


class AffinityUnionParameters(GroupingParameters):
    """See :func:`rtseg.grouping.affinity_union`.

    Attributes:
        position_threshold: segments are then joined by embedding, classes and position while these agree by at least
            this, as in :func:`rtseg.grouping.cascade_gaec`; None joins none, and needs no embedding.
        beta: of the position factors.
        min_pixels: smallest segment that is joined, map pixels.
        max_segments: the largest segments, as many at most, are joined.
    """

    superpixel_threshold: Probability = 0.98
    support: Probability = 0.0
    threshold: Probability = 0.5
    position_threshold: Probability | None = None
    beta: Annotated[float, Field(ge=0, le=100)] = 0.5
    min_pixels: Annotated[int, Field(ge=1, le=10**6)] = 4
    max_segments: Annotated[int, Field(ge=0, le=4096)] = 512


class AffinityUnion:
    """The class is the most probable one over the mask, and that probability the score.

    Attributes:
        names: of the semantic and the affinity output, and of the embedding where segments are joined by it.
        factor: map pixels that a pixel of the embedding stands for along each side.
        offsets: of the affinities.
        parameters: of the card.
        least: smallest instance, map pixels.
    """

    def __init__(self, card: ModelCard, parameters: AffinityUnionParameters) -> None:
        self.parameters = parameters
        wanted: dict[str, int | None] = {"semantic": 1 + len(card.classes), "affinity": None}
        semantic, affinity = wanted_outputs(card, wanted)
        embedding = None
        if parameters.position_threshold is not None:
            embedding = embedding_output(card, affinity.stride)
            if embedding is None:
                raise ModelError(
                    f"the card of {card.name} gives a position_threshold, expected an output of kind embedding to join "
                    f"segments by, got {listed_outputs(card)}"
                )
        by_channels = {len(GMIS_OFFSETS): GMIS_OFFSETS, 4: FOUR_NEIGHBORS, 2: FOUR_NEIGHBORS[:2]}
        if affinity.channels not in by_channels:
            raise ModelError(
                f"the card of {card.name} gives {affinity.name} {affinity.channels} channels, expected "
                "56 (GMIS), 4 or 2 (DaffNet)"
            )
        self.names = tuple(output.name for output in (semantic, affinity, embedding) if output is not None)
        self.factor = 1 if embedding is None else embedding.stride // affinity.stride
        self.offsets = by_channels[affinity.channels]
        self.least = pixels_of(parameters.min_area, affinity.stride)

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        semantic, affinity, *embedding = (maps[name][0] for name in self.names)
        semantic = probabilities(semantic)
        settings = self.parameters
        inside = upsample_argmax(semantic, semantic.shape[1:]) > 0
        labels = affinity_union(
            affinity,
            self.offsets,
            settings.superpixel_threshold,
            settings.threshold,
            inside,
            support=settings.support,
        )
        if embedding and settings.position_threshold is not None:
            if not np.isfinite(embedding[0]).all():
                raise GroupingError("expected finite embeddings, got NaN or infinite values; check the weights")
            labels, count = drop_small(labels, int(labels.max(initial=0)), settings.min_pixels)
            limits = settings.position_threshold, settings.beta, settings.max_segments
            if count:
                labels, _ = join_apart(labels, count, embedding[0], self.factor, semantic, *limits)
        return self._describe(labels, semantic)

    def _describe(self, labels: NDArray[np.int32], semantic: NDArray[np.float32]) -> MapInstances:
        """Classes and scores of labels (h, w), which are changed in place; `semantic` (1 + C, h, w) probabilities."""
        sizes = np.bincount(labels.reshape(-1))
        keep = sizes >= self.least
        keep[0] = False
        count = len(renumber(labels.reshape(-1), np.where(keep, np.arange(keep.size), 0).astype(np.int32)))
        means, _ = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
        best = (1 + means[:, 1:].argmax(axis=1)).astype(np.int32) if count else np.zeros(0, np.int32)
        scores = np.clip(means[np.arange(count), best], 0.0, 1.0).astype(np.float32)
        return MapInstances(as_classes(GroupedInstances(labels, best, scores)), foreground_guide(semantic))


class AffinityUnionOnDevice:
    """The same in fixed buffers of a device; see :class:`rtseg.instances.on_device.MapsOnDevice`.

    Args:
        grouping: as the card asks for it.
        maps: the backend's output buffers.
        launcher: where kernels run.
    """

    def __init__(self, grouping: AffinityUnion, maps: dict[str, Any], launcher: Launcher) -> None:
        from rtseg.ops.cuda.coloring import ColoringPlan
        from rtseg.ops.cuda.merging import AffinityUnionPlan
        from rtseg.ops.cuda.regions import AffinityJoinPlan, RegionTable

        self._semantic, self._affinity, *embedding = (maps[name][0] for name in grouping.names)
        self._embedding = embedding[0] if embedding else None
        shape, settings, xp = self._semantic.shape, grouping.parameters, launcher.xp
        size = tuple(shape[1:])
        self._coloring = ColoringPlan(shape, size, launcher)
        self._union = AffinityUnionPlan(
            self._affinity.shape,
            grouping.offsets,
            settings.superpixel_threshold,
            settings.threshold,
            wide_rounds=wide_rounds(size),
            launcher=launcher,
            support=settings.support,
        )
        regions, extras = size[0] * size[1], len(embedding[0]) if embedding else 0
        table = self._table = RegionTable(
            shape, extras, regions, guide="best", launcher=launcher, factor=grouping.factor
        )
        self._join = AffinityJoinPlan(
            table,
            regions,
            (shape[0], extras),
            (settings.position_threshold or 0.0, settings.beta),
            settings.min_pixels if embedding else 1,
            grouping.least,
            settings.max_segments,
            launcher,
        )
        self._kinds = xp.zeros(size, "uint8")
        self.labels, self.guide = xp.zeros(size, "int32"), table.guide
        self.class_ids, self.scores, self.count = table.class_ids, table.scores, table.count
        self.statuses = self._coloring.status, self._union.status, table.status

    def run(self) -> None:
        self._coloring.run(self._semantic, self._kinds)
        self._union.run(self._affinity, self.labels, self._kinds.view("bool"))  # any channel but the background's
        self._table.measure(self.labels, self._semantic, self._embedding)
        self._join.run(self._union.count)
        self._table.rename(self.labels)


METHOD = Method(
    name="affinity_union",
    parameters=AffinityUnionParameters,
    outputs={"semantic": paint_channels, "affinity": paint_affinities, "embedding": paint_nothing},
    grouping=AffinityUnion,
    on_device=AffinityUnionOnDevice,
)
