"""What a card may say under ``grouping.parameters``, for each method that groups instances."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtseg.errors import ModelError
from rtseg.grouping import GraphMergeSettings, SoloSettings
from rtseg.runtime.card import ModelCard

Probability = Annotated[float, Field(ge=0, le=1)]
Area = Annotated[int, Field(ge=1, le=10**7)]


class TrackerParameters(BaseModel):
    """Replaces fields of :class:`rtseg.instances.InstanceTrackerSettings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_overlap: Probability = 0.1
    gate: Annotated[float, Field(ge=0, le=10)] = 0.75
    drift: Annotated[float, Field(ge=0, le=100)] = 1.5
    memory: Annotated[float, Field(ge=0, le=60)] = 0.7
    reset_after: Annotated[float, Field(ge=0, le=3600)] = 2.0


class GroupingParameters(BaseModel):
    """What every method takes under ``grouping.parameters`` of the card.

    Attributes:
        min_area: smallest instance, in pixels of the network's input.
        track: follow instances from frame to frame; without, ids are labels.
        tracker: how.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_area: Area = 64
    track: bool = True
    tracker: TrackerParameters = TrackerParameters()


class ColoringParameters(GroupingParameters):
    """Of ``coloring`` (L2C): centers within `merge_distance` input pixels merge; an area of `score_area` scores 1."""

    merge_distance: Annotated[float, Field(ge=0, le=10_000)] = 20.0
    score_area: Annotated[float, Field(gt=0, le=10**7)] = 1500.0
    connectivity: Literal[4, 8] = 8


class GraphMergeParameters(GroupingParameters):
    """Of ``graph_merge`` (GMIS): see :class:`rtseg.grouping.GraphMergeSettings`.

    Attributes:
        super_classes: groups of class names, or of semantic channels (1 + index of the class); all in one by default.
        flip: run the network on the mirrored image too and average (see rtseg.instances.flip).
    """

    super_classes: tuple[tuple[str | int, ...], ...] = ()
    stages: tuple[tuple[tuple[int, ...], Probability], ...] = GraphMergeSettings.stages
    exclude_background: bool = True
    areas: bool = True
    cell: Annotated[int, Field(ge=1, le=4096)] = 32
    refine: bool = True
    alpha: Annotated[float, Field(gt=0, le=1000)] = 5.0
    window: Annotated[int, Field(ge=1, le=64)] = 2
    partition: bool = True
    flip: bool = False


class CascadeParameters(GroupingParameters):
    """Of ``cascade_gaec`` (DaffNet): see :func:`rtseg.grouping.cascade_gaec`."""

    background: Literal["exclude", "reopen"] = "exclude"
    threshold: Probability = 0.5
    position_threshold: Probability = 0.5
    beta: Annotated[float, Field(ge=0, le=100)] = 0.5
    min_pixels: Annotated[int, Field(ge=1, le=10**6)] = 4
    final: Literal["gaec", "association"] = "gaec"
    max_segments: Annotated[int, Field(ge=0, le=4096)] = 512


class AffinityUnionParameters(GroupingParameters):
    """Of ``affinity_union``: see :func:`rtseg.grouping.affinity_union`."""

    superpixel_threshold: Probability = 0.98
    threshold: Probability = 0.5
    flip: bool = False


class SoloParameters(GroupingParameters):
    """Of ``solo`` (Exemplar-FreeSOLO): see :class:`rtseg.grouping.SoloSettings`."""

    score_threshold: Probability = SoloSettings.score_threshold
    candidates: Annotated[int, Field(ge=1, le=1024)] = SoloSettings.candidates
    nms: Literal["matrix", "fast"] = SoloSettings.nms
    sigma: Annotated[float, Field(gt=0, le=100)] = SoloSettings.sigma
    overlap: Probability = SoloSettings.overlap
    keep_threshold: Probability = SoloSettings.keep_threshold
    min_visible: Probability = SoloSettings.min_visible


Parameters = TypeVar("Parameters", bound=GroupingParameters)


def read_parameters(card: ModelCard, kind: type[Parameters]) -> Parameters:
    """Validate ``grouping.parameters`` of a card.

    Raises:
        ModelError: naming the first field that is unknown or out of its range.
    """
    try:
        return kind.model_validate(card.grouping.parameters)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(("grouping.parameters", *(str(part) for part in first["loc"])))
        got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
        raise ModelError(f"the card of {card.name} does not fit: {field}: {first['msg']}{got}") from error
