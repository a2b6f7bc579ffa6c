"""GMIS: graph merge of 56 affinities (sections 3.4 and 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtseg.errors import ModelError
from rtseg.grouping import GMIS_OFFSETS, GraphMergeSettings, graph_merge
from rtseg.grouping.graph_merge import GraphMergeTricks, agreement_weights
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method
from rtseg.instances.methods.outputs import pixels_of, wanted_outputs
from rtseg.instances.methods.semantics import as_classes, probabilities
from rtseg.instances.methods.warm_up import paint_affinities, paint_channels
from rtseg.ops.cuda.module import Launcher
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps


class GraphMergeParameters(GraphMergeTricks, GroupingParameters):
    """The tricks of graph merge, and between what classes.

    Attributes:
        super_classes: groups of class names, or of semantic channels (1 + index of the class); all in one by default.
    """

    super_classes: tuple[tuple[str | int, ...], ...] = ()


class GraphMerge:
    """Graph merge with the card's tricks and thresholds.

    Attributes:
        names: of the semantic and the affinity output.
        settings: tricks and thresholds.
    """

    def __init__(self, card: ModelCard, parameters: GraphMergeParameters) -> None:
        wanted = {"semantic": 1 + len(card.classes), "affinity": len(GMIS_OFFSETS)}
        outputs = wanted_outputs(card, wanted)
        self.names = tuple(output.name for output in outputs)
        self.settings = GraphMergeSettings(
            **parameters.model_dump(include=set(GraphMergeTricks.model_fields)),
            super_classes=_super_classes(parameters.super_classes, card),
            min_pixels=pixels_of(parameters.min_area, outputs[0].stride),
        )

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        semantic, affinity = (maps[name][0] for name in self.names)
        semantic = probabilities(semantic)
        found = graph_merge(affinity, semantic, self.settings)
        return MapInstances(as_classes(found), np.stack([semantic[0], semantic[1:].sum(axis=0)]))


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


class GraphMergeOnDevice:
    """The same in fixed buffers of a device; see :class:`rtseg.instances.on_device.MapsOnDevice`.

    Args:
        grouping: as the card asks for it, without blocks and areas.
        maps: the backend's output buffers.
        launcher: where kernels run.
    """

    def __init__(self, grouping: GraphMerge, maps: dict[str, Any], launcher: Launcher) -> None:
        from rtseg.ops.cuda.graph_merge import GraphMergePlan
        from rtseg.ops.cuda.merging import wide_rounds

        self._semantic, self._affinity = (maps[name][0] for name in grouping.names)
        settings, size = grouping.settings, tuple(self._semantic.shape[1:])
        plan = self._plan = GraphMergePlan(
            self._semantic.shape,
            settings.stages,
            settings.super_classes,
            settings.min_pixels,
            agreement_weights(settings.alpha) if settings.refine else None,
            settings.partition,
            settings.certain,
            wide_rounds=wide_rounds(size),
            launcher=launcher,
        )
        self.labels, self.guide = launcher.xp.zeros(size, "int32"), plan.guide
        self.class_ids, self.scores, self.count = plan.class_ids, plan.scores, plan.count
        self.statuses = (plan.status,)

    def run(self) -> None:
        self._plan.run(self._affinity, self._semantic, self.labels)


def _fits_device(grouping: GraphMerge) -> bool:
    settings = grouping.settings
    return settings.window == 1 and not settings.areas and settings.exclude_background


METHOD = Method(
    name="graph_merge",
    parameters=GraphMergeParameters,
    outputs={"semantic": paint_channels, "affinity": paint_affinities},
    grouping=GraphMerge,
    on_device=GraphMergeOnDevice,
    fits_device=_fits_device,
)
