"""What a grouping method of instance models is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.errors import ModelError
from rtseg.grouping import GroupedInstances
from rtseg.instances.methods.warm_up import Painter
from rtseg.instances.on_device import MapsOnDevice
from rtseg.instances.tracking import InstanceTrackerSettings
from rtseg.instances.upsampling import upsample_and_measure, upsample_labels
from rtseg.ops import RegionStatistics
from rtseg.ops.cuda.module import Launcher
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps
from rtseg.settings import Settings

Area = Annotated[int, Field(ge=1, le=10**7)]


class GroupingParameters(Settings):
    """What every method takes under ``grouping.parameters`` of the card.

    Attributes:
        min_area: smallest instance, in pixels of the network's input.
        flip: run the network on the mirrored image too and average (:mod:`rtseg.instances.mirror`).
        track: follow instances from frame to frame; without, ids are labels.
        tracker: how.
        quality: weights by which a score becomes the overlap with the true object that is to be expected, see
            :func:`rtseg.instances.quality.expected_overlap`; None keeps the method's.
        drivable: classes that may be driven on, whose pixels become :attr:`rtseg.results.Instances.drivable`.
        ground: further classes that lie flat on the ground, such as a sidewalk; all others stand on it.
    """

    min_area: Area = 64
    flip: bool = False
    track: bool = True
    tracker: InstanceTrackerSettings = InstanceTrackerSettings()
    quality: tuple[float, float, float] | None = None
    drivable: tuple[str, ...] = ()
    ground: tuple[str, ...] = ()


class FoundInstances(Protocol):
    """Instances that were found in head maps, at whatever resolution those have."""

    @property
    def class_ids(self) -> NDArray[np.int32]:
        """(n,) indices of the card's classes."""
        ...

    @property
    def scores(self) -> NDArray[np.float32]:
        """(n,) in [0, 1]."""
        ...

    def labels_at(self, size: tuple[int, int]) -> NDArray[np.int32]:
        """Paint them at a size: (H, W) int32, label i + 1 for instance i, 0 for nothing; one may have no pixel."""
        ...


@dataclass(frozen=True)
class MapInstances:
    """Instances on a head map.

    Attributes:
        grouped: labels (h, w), and class indices of the card (not semantic channels) and scores.
        guide: (K, h, w) float32 whose argmax says what kind of pixel each is, 0 background; outlines follow it.
    """

    grouped: GroupedInstances
    guide: NDArray[np.float32]

    @property
    def class_ids(self) -> NDArray[np.int32]:
        """(n,) indices of the card's classes."""
        return self.grouped.class_ids

    @property
    def scores(self) -> NDArray[np.float32]:
        """(n,) in [0, 1]."""
        return self.grouped.scores

    def labels_at(self, size: tuple[int, int]) -> NDArray[np.int32]:
        """Labels (H, W) int32 with outlines that follow the guide."""
        return upsample_labels(self.grouped.labels, self.guide, size)

    def measured_at(self, size: tuple[int, int]) -> tuple[NDArray[np.int32], RegionStatistics]:
        """The same, and areas, boxes and centers of each."""
        return upsample_and_measure(self.grouped.labels, self.guide, size, len(self.grouped))


class MapGrouping(Protocol):
    """A method as a card asks for it."""

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> FoundInstances:
        """Group the head maps of one frame of (H, W).

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
        fits_device: whether that form does all that a grouping's parameters ask for.
        warm_up: gives head maps of a card in which there are objects, where painters cannot paint outputs one by one.
    """

    name: str
    parameters: type[Parameters]
    outputs: Mapping[str, Painter]
    grouping: Callable[[ModelCard, Parameters], MapGrouping]
    on_device: Callable[[Any, dict[str, Any], Launcher], MapsOnDevice] | None = None
    fits_device: Callable[[Any], bool] = lambda grouping: True
    warm_up: Callable[[ModelCard, Any], list[HeadMaps]] | None = None


def class_numbers(card: ModelCard, parameter: str, names: tuple[str, ...]) -> NDArray[np.int32]:
    """Indices of the classes that a parameter of a card names.

    Raises:
        ModelError: the card has no such class.
    """
    for name in names:
        if name not in card.classes:
            raise ModelError(
                f"the card of {card.name} does not fit: grouping.parameters.{parameter}: expected classes out of "
                f"{', '.join(card.classes)}, got {name!r}"
            )
    return np.array([card.classes.index(name) for name in names], np.int32)
