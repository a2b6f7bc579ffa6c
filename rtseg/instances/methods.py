"""From the head maps of each family to instances on the map: one class a grouping method, made from the card."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import GroupingError, ModelError
from rtseg.grouping import (
    GMIS_OFFSETS,
    CascadeLevel,
    GraphMergeSettings,
    GroupedInstances,
    SoloLevel,
    SoloSettings,
    affinity_union,
    cascade_gaec,
    color_components,
    graph_merge,
    solo_instances,
    solo_masks,
)
from rtseg.grouping.cascade import FOUR_NEIGHBORS
from rtseg.grouping.grouped import channel_means, renumber
from rtseg.grouping.solo import MASK_STRIDE as SOLO_STRIDE
from rtseg.grouping.solo import SHAPE_TERMS
from rtseg.instances.parameters import (
    AffinityUnionParameters,
    CascadeParameters,
    ColoringParameters,
    GraphMergeParameters,
    GroupingParameters,
    SoloParameters,
    read_parameters,
)
from rtseg.ops import upsample_argmax
from rtseg.runtime.card import ModelCard, ModelOutput
from rtseg.runtime.paths import HeadMaps


@dataclass(frozen=True)
class MapInstances:
    """Instances on a head map.

    Attributes:
        grouped: labels (h, w), and class indices of the card (not semantic channels) and scores.
        guide: (K, h, w) float32 whose argmax says what kind of pixel each is, 0 background; outlines follow it.
    """

    grouped: GroupedInstances
    guide: NDArray[np.float32]


class MapGrouping(Protocol):
    """Groups the head maps of one frame."""

    @property
    def parameters(self) -> GroupingParameters: ...

    def __call__(self, maps: HeadMaps) -> MapInstances: ...


class Coloring:
    """L2C: connected components of the colors, merged where their predicted centers agree (sections III-B, V-B).

    The class is the argmax of the mean semantic probability over the mask, an instance whose best class is background
    is none, and its score is min(1, area / 1500).
    """

    def __init__(self, card: ModelCard) -> None:
        self.parameters = read_parameters(card, ColoringParameters)
        colors, _, _ = wanted_outputs(card, {"colors": None, "semantic": 1 + len(card.classes), "centers": 2})
        self._stride = colors.stride

    def __call__(self, maps: HeadMaps) -> MapInstances:
        colors, semantic, offsets = maps["colors"][0], probabilities(maps["semantic"][0]), maps["centers"][0]
        height, width = colors.shape[1:]
        stride, settings = self._stride, self.parameters
        ids = upsample_argmax(colors, (height, width))
        centers = np.empty_like(offsets)
        centers[0] = offsets[0] + (stride * (np.arange(width, dtype=np.float32) + 0.5) - 0.5)
        centers[1] = offsets[1] + (stride * (np.arange(height, dtype=np.float32) + 0.5) - 0.5)[:, None]
        least = pixels_of(settings.min_area, stride)
        labels = color_components(ids, centers, settings.merge_distance, least, settings.connectivity)
        count = int(labels.max(initial=0))
        means, sizes = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
        best = means.argmax(axis=1).astype(np.int32) if count else np.zeros(0, np.int32)
        scores = np.minimum(1.0, sizes * stride**2 / settings.score_area).astype(np.float32)
        return MapInstances(_things_only(labels, best, scores), colors)


class GraphMerge:
    """GMIS: graph merge of 56 affinities (sections 3.4 and 4)."""

    def __init__(self, card: ModelCard) -> None:
        self.parameters = read_parameters(card, GraphMergeParameters)
        wanted = {"semantic": 1 + len(card.classes), "affinity": len(GMIS_OFFSETS)}
        semantic, _ = wanted_outputs(card, wanted)
        chosen = self.parameters.model_dump(exclude={"super_classes", "flip", "min_area", "track", "tracker"})
        super_classes = _super_classes(self.parameters.super_classes, card)
        least = pixels_of(self.parameters.min_area, semantic.stride)
        try:
            self._settings = GraphMergeSettings(super_classes, **chosen, min_pixels=least)
        except GroupingError as error:
            raise ModelError(f"the card of {card.name} does not fit: grouping.parameters: {error}") from error

    def __call__(self, maps: HeadMaps) -> MapInstances:
        semantic = probabilities(maps["semantic"][0])
        found = graph_merge(maps["affinity"][0], semantic, self._settings)
        return MapInstances(_as_classes(found), np.stack([semantic[0], semantic[1:].sum(axis=0)]))


class Cascade:
    """DaffNet: Cascade-GAEC from the coarsest level to the finest (section 3.5)."""

    def __init__(self, card: ModelCard) -> None:
        self.parameters = read_parameters(card, CascadeParameters)
        outputs = {output.name: output for output in card.outputs}
        names = [name.removeprefix("semantic_") for name in outputs if re.fullmatch(r"semantic_s\d+", name)]
        if not names:
            raise ModelError(f"the card of {card.name} asks for cascade_gaec, expected outputs semantic_s4, ...")
        self._levels: list[tuple[str, int, bool]] = []
        for name in names:
            embedded = f"embedding_{name}" in outputs
            wanted: dict[str, int | None] = {f"semantic_{name}": 1 + len(card.classes), f"affinity_{name}": 4}
            if embedded:
                wanted[f"embedding_{name}"] = None
            level = wanted_outputs(card, wanted)[0]
            self._levels.append((name, level.stride, embedded))
        self._levels.sort(key=lambda level: -level[1])

    def __call__(self, maps: HeadMaps) -> MapInstances:
        levels = [
            CascadeLevel(
                affinity=maps[f"affinity_{name}"][0],
                semantic=probabilities(maps[f"semantic_{name}"][0]),
                embedding=maps[f"embedding_{name}"][0] if embedded else None,
                stride=stride,
            )
            for name, stride, embedded in self._levels
        ]
        chosen = self.parameters.model_dump(exclude={"track", "tracker"})
        found = cascade_gaec(levels, **chosen)
        return MapInstances(_as_classes(found), _foreground_guide(levels[-1].semantic))


class AffinityUnion:
    """Union-find and merging of regions over the affinities of the foreground, for the maps of GMIS or DaffNet.

    The class is the most probable one over the mask, and that probability the score.
    """

    def __init__(self, card: ModelCard) -> None:
        self.parameters = read_parameters(card, AffinityUnionParameters)
        names = {output.name for output in card.outputs}
        ending = "" if "affinity" in names else "_s4"
        self.names = f"semantic{ending}", f"affinity{ending}"
        semantic, affinity = wanted_outputs(card, {self.names[0]: 1 + len(card.classes), self.names[1]: None})
        by_channels = {len(GMIS_OFFSETS): GMIS_OFFSETS, 4: FOUR_NEIGHBORS, 2: FOUR_NEIGHBORS[:2]}
        if affinity.channels not in by_channels:
            raise ModelError(
                f"the card of {card.name} gives {affinity.name} {affinity.channels} channels, expected "
                "56 (GMIS) or 4 (DaffNet)"
            )
        self.offsets = by_channels[affinity.channels]
        self._stride = semantic.stride

    def __call__(self, maps: HeadMaps) -> MapInstances:
        semantic = probabilities(maps[self.names[0]][0])
        settings = self.parameters
        inside = upsample_argmax(semantic, semantic.shape[1:]) > 0
        affinity = maps[self.names[1]][0]
        labels = affinity_union(affinity, self.offsets, settings.superpixel_threshold, settings.threshold, inside)
        return self.describe(labels, semantic)

    def describe(self, labels: NDArray[np.int32], semantic: NDArray[np.float32]) -> MapInstances:
        """Classes and scores of labels (h, w), which are changed in place; `semantic` (1 + C, h, w) probabilities."""
        sizes = np.bincount(labels.reshape(-1))
        keep = sizes >= pixels_of(self.parameters.min_area, self._stride)
        keep[0] = False
        count = len(renumber(labels.reshape(-1), np.where(keep, np.arange(keep.size), 0).astype(np.int32)))
        means, _ = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
        best = (1 + means[:, 1:].argmax(axis=1)).astype(np.int32) if count else np.zeros(0, np.int32)
        scores = np.clip(means[np.arange(count), best], 0.0, 1.0).astype(np.float32)
        return MapInstances(_as_classes(GroupedInstances(labels, best, scores)), _foreground_guide(semantic))


class Solo:
    """Exemplar-FreeSOLO: masks that kernels of points make, suppressed and painted into each other."""

    def __init__(self, card: ModelCard) -> None:
        self.parameters = read_parameters(card, SoloParameters)
        outputs = {output.name: output for output in card.outputs}
        self.names = [name.removeprefix("cate_") for name in outputs if re.fullmatch(r"cate_s\d+", name)]
        features = outputs.get("mask_features")
        channels = 0 if features is None else features.channels
        fit = features is not None and features.stride == SOLO_STRIDE and len(card.classes) == 1
        for name in self.names if fit else ():
            cate, kernel = outputs[f"cate_{name}"], outputs.get(f"kernel_{name}")
            fit = fit and kernel is not None and kernel.channels == SHAPE_TERMS + channels
            fit = fit and cate.channels == 1 and kernel is not None and kernel.stride == cate.stride
        if not fit or not self.names:
            raise ModelError(
                f"the card of {card.name} asks for solo, expected one class, mask_features (D) of stride {SOLO_STRIDE} "
                f"and cate_s8 (1), kernel_s8 ({SHAPE_TERMS} + D), ..., "
                f"got {', '.join(f'{o.name} ({o.channels})' for o in card.outputs)}"
            )
        self.strides = [outputs[f"cate_{name}"].stride for name in self.names]
        chosen = self.parameters.model_dump(exclude={"min_area", "track", "tracker"})
        self.settings = SoloSettings(**chosen, min_pixels=pixels_of(self.parameters.min_area, SOLO_STRIDE))

    def __call__(self, maps: HeadMaps) -> MapInstances:
        levels = [
            SoloLevel(maps[f"cate_{name}"][0, 0], maps[f"kernel_{name}"][0], stride)
            for name, stride in zip(self.names, self.strides, strict=True)
        ]
        return self.describe(solo_instances(solo_masks(levels, maps["mask_features"][0], self.settings), self.settings))

    def describe(self, found: GroupedInstances) -> MapInstances:
        """Add what outlines follow to instances on the map of mask features."""
        inside = found.labels > 0
        return MapInstances(found, np.stack([~inside, inside]).astype(np.float32))


GROUPINGS: dict[str, Callable[[ModelCard], MapGrouping]] = {
    "coloring": Coloring,
    "graph_merge": GraphMerge,
    "cascade_gaec": Cascade,
    "affinity_union": AffinityUnion,
    "solo": Solo,
}


def wanted_outputs(card: ModelCard, wanted: Mapping[str, int | None]) -> list[ModelOutput]:
    """Find the outputs a method reads: name to channels, None where any number will do.

    Raises:
        ModelError: if one is missing, has other channels or another stride than the first, or a stride that does not
            divide the input.
    """
    outputs: dict[str, Any] = {output.name: output for output in card.outputs}
    found: list[ModelOutput] = []
    for name, channels in wanted.items():
        output = outputs.get(name)
        if output is None or output.channels != (channels or output.channels):
            count = "" if channels is None else f" of {channels} channels"
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method}, expected an output {name}{count}, "
                f"got {', '.join(f'{o.name} ({o.channels})' for o in card.outputs)}"
            )
        found.append(output)
        if output.stride != found[0].stride or card.input.width % output.stride or card.input.height % output.stride:
            raise ModelError(
                f"the card of {card.name} gives {name} stride {output.stride}, expected that of {found[0].name} "
                f"({found[0].stride}), dividing the input's {card.input.width}x{card.input.height}"
            )
    return found


def pixels_of(area: int, stride: int) -> int:
    """Map pixels that an area of input pixels makes, at least one."""
    return max(1, -(-area // stride**2))


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over channels of (C, h, w).

    Raises:
        GroupingError: on values that are not finite.
    """
    values = logits - logits.max(axis=0)
    np.exp(values, out=values)
    total = values.sum(axis=0)
    if not np.isfinite(total).all():
        raise GroupingError("expected finite semantic maps, got NaN or infinite values; check the network's weights")
    values /= total
    return values


def _foreground_guide(semantic: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.stack([semantic[0], semantic[1:].max(axis=0)]).astype(np.float32, copy=False)


def _as_classes(found: GroupedInstances) -> GroupedInstances:
    """Semantic channels to indices of the card's classes."""
    return GroupedInstances(found.labels, found.class_ids - np.int32(1), found.scores)


def _things_only(
    labels: NDArray[np.int32], channels: NDArray[np.int32], scores: NDArray[np.float32]
) -> GroupedInstances:
    """Leave out what is background; `labels` is changed in place."""
    keep = np.flatnonzero(channels > 0)
    if len(keep) < len(channels):
        mapping = np.zeros(len(channels) + 1, dtype=np.int32)
        mapping[keep + 1] = keep + 1
        renumber(labels.reshape(-1), mapping)
    return _as_classes(GroupedInstances(labels, channels[keep], scores[keep]))


def _super_classes(groups: tuple[tuple[str | int, ...], ...], card: ModelCard) -> tuple[tuple[int, ...], ...]:
    if not groups:
        return (tuple(range(1, len(card.classes) + 1)),)
    channels: dict[str | int, int] = {name: 1 + i for i, name in enumerate(card.classes)}
    known = dict(channels)
    known.update({channel: channel for channel in channels.values()})
    chosen = tuple(tuple(known.get(item, 0) for item in group) for group in groups)
    if sorted(channel for group in chosen for channel in group) != sorted(channels.values()):
        raise ModelError(
            f"the card of {card.name} does not fit: grouping.parameters.super_classes: expected each class once "
            f"({', '.join(card.classes)}), got {groups}"
        )
    return chosen
