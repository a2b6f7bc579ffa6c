"""What a method of lane models is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rtseg.lanes import DetectedLanes, LaneTrackerSettings
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import IgnoreMask
from rtseg.runtime.interpreter import DeviceForm, HeadMaps
from rtseg.settings import Settings


class TrackedParameters(Settings):
    """What every method of lanes takes under ``grouping.parameters`` of the card."""

    tracker: LaneTrackerSettings = LaneTrackerSettings()


Found = TypeVar("Found")
Parameters = TypeVar("Parameters", bound=TrackedParameters)


class LaneReading(Protocol[Found]):
    """A method as a card asks for it; sizes are those of what the network sees of the frames."""

    @property
    def device_form(self) -> DeviceForm[Found] | None:
        """What makes the first step for a device; None where the method has none."""
        ...

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> Found:
        """Find what is in the maps.

        Raises:
            GroupingError: if they are not finite.
        """
        ...

    def decode(self, found: Found, size: tuple[int, int]) -> DetectedLanes:
        """Make lane lines of it."""
        ...

    def warm_up_maps(self) -> HeadMaps:
        """Head maps in which there are two lines."""
        ...


@dataclass(frozen=True)
class LaneMethod(Generic[Parameters]):
    """A method of lanes.

    Attributes:
        name: as in a card.
        parameters: what a card may say under ``grouping.parameters``.
        reading: makes the reading of a card and its parameters, and of what is ignored of what the network sees; raises
            ModelError where they do not fit.
    """

    name: str
    parameters: type[Parameters]
    reading: Callable[[ModelCard, Any, IgnoreMask | None], LaneReading[Any]]


def listed_outputs(card: ModelCard) -> str:
    """Say what outputs a card has."""
    return ", ".join(f"{output.name} ({output.kind}, {output.sides(card.input)})" for output in card.outputs)
