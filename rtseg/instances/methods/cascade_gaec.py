"""DaffNet: Cascade-GAEC from the coarsest level to the finest (section 3.5)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rtseg.errors import ModelError
from rtseg.grouping import CascadeLevel, cascade_gaec
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method
from rtseg.instances.methods.outputs import embedding_output, listed_outputs, strides_of, wanted_outputs
from rtseg.instances.methods.semantics import as_classes, foreground_guide, probabilities
from rtseg.instances.methods.warm_up import paint_affinities, paint_channels, paint_nothing
from rtseg.runtime.card import ModelCard, ModelOutput
from rtseg.runtime.interpreter import HeadMaps
from rtseg.settings import Probability


class CascadeParameters(GroupingParameters):
    """See :func:`rtseg.grouping.cascade_gaec`."""

    background: Literal["exclude", "reopen"] = "exclude"
    threshold: Probability = 0.5
    position_threshold: Probability = 0.5
    beta: Annotated[float, Field(ge=0, le=100)] = 0.5
    min_pixels: Annotated[int, Field(ge=1, le=10**6)] = 4
    final: Literal["gaec", "association"] = "gaec"
    max_segments: Annotated[int, Field(ge=0, le=4096)] = 512


class Cascade:
    """One level for each stride at which the network gives class maps.

    A level without an embedding of its own takes that of the next coarser stride that has one.
    """

    def __init__(self, card: ModelCard, parameters: CascadeParameters) -> None:
        self._chosen = parameters.model_dump(exclude=set(GroupingParameters.model_fields) - {"min_area"})
        strides = strides_of(card, "semantic")
        if not strides:
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method}, expected outputs of kind semantic, affinity "
                f"and embedding at one or several strides, got {listed_outputs(card)}"
            )
        self._levels: list[tuple[ModelOutput, ModelOutput, ModelOutput | None]] = []
        for stride in sorted(strides, reverse=True):
            wanted: dict[str, int | None] = {"semantic": 1 + len(card.classes), "affinity": None}
            semantic, affinity = wanted_outputs(card, wanted, stride)
            if affinity.channels not in (2, 4):
                raise ModelError(
                    f"the card of {card.name} gives {affinity.name} {affinity.channels} channels, expected 2 or 4: to "
                    "the right and lower neighbor, and to the left and upper one"
                )
            self._levels.append((semantic, affinity, embedding_output(card, stride)))

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        levels = [
            CascadeLevel(
                affinity=maps[affinity.name][0],
                semantic=probabilities(maps[semantic.name][0]),
                embedding=None if embedding is None else maps[embedding.name][0],
                stride=semantic.stride,
                embedding_stride=0 if embedding is None else embedding.stride,
            )
            for semantic, affinity, embedding in self._levels
        ]
        found = cascade_gaec(levels, **self._chosen)
        return MapInstances(as_classes(found), foreground_guide(levels[-1].semantic))


METHOD = Method(
    name="cascade_gaec",
    parameters=CascadeParameters,
    outputs={"semantic": paint_channels, "affinity": paint_affinities, "embedding": paint_nothing},
    grouping=Cascade,
)
