"""What a grouping method of instance models is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from rtseg.errors import ModelError
from rtseg.grouping import GroupedInstances
from rtseg.instances.methods.warm_up import Painter
from rtseg.instances.tracking import InstanceTrackerSettings
from rtseg.ops.cuda.module import Launcher
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import DeviceGrouping, HeadMaps
from rtseg.settings import Settings, first_fault

Area = Annotated[int, Field(ge=1, le=10**7)]


class GroupingParameters(Settings):
    """What every method takes under ``grouping.parameters`` of the card.

    Attributes:
        min_area: smallest instance, in pixels of the network's input.
        flip: run the network on the mirrored image too and average (:mod:`rtseg.instances.mirror`).
        track: follow instances from frame to frame; without, ids are labels.
        tracker: how.
    """

    min_area: Area = 64
    flip: bool = False
    track: bool = True
    tracker: InstanceTrackerSettings = InstanceTrackerSettings()


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
    """A method as a card asks for it."""

    def __call__(self, maps: HeadMaps) -> MapInstances:
        """Group the head maps of one frame.

        Raises:
            GroupingError: if they are not finite or hold values that the method cannot take.
        """
        ...


Parameters = TypeVar("Parameters", bound=GroupingParameters)


@dataclass(frozen=True)
class Method(Generic[Parameters]):
    """A grouping method.

    Attributes:
        name: as in a card.
        parameters: what a card may say under ``grouping.parameters``.
        outputs: kinds of the outputs that it reads, and how each is painted to warm up.
        grouping: makes the grouping of a card and its parameters; raises ModelError where they do not fit.
        on_device: makes its device form of that grouping, the backend's fixed output buffers and where kernels run;
            None where the CPU has to group.
    """

    name: str
    parameters: type[Parameters]
    outputs: Mapping[str, Painter]
    grouping: Callable[[ModelCard, Parameters], MapGrouping]
    on_device: Callable[[Any, dict[str, Any], Launcher], DeviceGrouping[MapInstances]] | None = None

    def read_parameters(self, card: ModelCard) -> Parameters:
        """Validate ``grouping.parameters`` of a card.

        Raises:
            ModelError: naming the first field that is unknown or out of its range.
        """
        try:
            return self.parameters.model_validate(card.grouping.parameters)
        except ValidationError as error:
            fault = first_fault(error, "grouping", "parameters")
            raise ModelError(f"the card of {card.name} does not fit: {fault}") from error
