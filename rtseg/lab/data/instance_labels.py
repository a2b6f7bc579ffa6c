"""Pictures with instance labels: what every label format is read into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled

IGNORED_CLASS = 255  # in a semantic map
IGNORED = -1  # in an instance map


@dataclass(frozen=True)
class InstanceTruth:
    """The labels of one picture.

    Attributes:
        instances: (H, W) int32, 0 none, 1..n instances, -1 where it is not known which instance a pixel belongs to.
        semantic: (H, W) uint8, 0 none of the classes, 1 + i class i, 255 unknown. A crowd, a group of cars drawn as
            one, has its class here and -1 in `instances`.
        class_ids: (n,) int32 indices into the frame's classes; row i describes instance i + 1.
    """

    instances: NDArray[np.int32]
    semantic: NDArray[np.uint8]
    class_ids: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.class_ids)


class InstanceFrame(ABC):
    """A picture and its instance labels, read when asked for; picklable, so that loader processes can be given it.

    Attributes:
        name: unique within its data set, such as the picture's stem.
        path: of the picture's file.
        place: where it was taken (a city), by which frames are held out; empty where unknown.
        classes: names of the things, which `InstanceTruth.class_ids` index.
    """

    name: str
    path: Path
    place: str
    classes: tuple[str, ...]

    @abstractmethod
    def image(self) -> NDArray[np.uint8]:
        """Read the (H, W, 3) uint8 BGR picture; DatasetError if it cannot be read."""

    @abstractmethod
    def truth(self) -> InstanceTruth:
        """Read the labels at the size of `image()`; DatasetError if they cannot be read."""


def truth_from_codes(codes: NDArray[np.uint16], meaning: Callable[[int], tuple[int, bool]]) -> InstanceTruth:
    """Turn a map of numbers, each standing for one instance, a class without instances or nothing, into a truth.

    Args:
        codes: (H, W) uint16.
        meaning: called for each number present, in their order: its semantic value (0 background, 1 + class, or 255)
            and whether it stands for one instance. A class without instances is -1 in the instance map.
    """
    codes = np.ascontiguousarray(codes)
    present = np.flatnonzero(_present(codes))
    instance_of = np.zeros(0x10000, np.int32)
    semantic_of = np.zeros(0x10000, np.uint8)
    class_ids: list[int] = []
    for code in present.tolist():
        semantic, single = meaning(code)
        semantic_of[code] = semantic
        if single:
            class_ids.append(semantic - 1)
            instance_of[code] = len(class_ids)
        elif semantic:
            instance_of[code] = IGNORED
    instances, semantics = _translate(codes, instance_of, semantic_of)
    return InstanceTruth(instances, semantics, np.asarray(class_ids, np.int32))


# Whole frames pass here for every training sample; numpy's bincount and indexing take six times as long.
@compiled
def _present(codes: np.ndarray) -> np.ndarray:
    present = np.zeros(0x10000, np.bool_)
    for row in range(codes.shape[0]):
        for column in range(codes.shape[1]):
            present[codes[row, column]] = True
    return present


@compiled
def _translate(codes: np.ndarray, instance_of: np.ndarray, semantic_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    instances = np.empty(codes.shape, np.int32)
    semantic = np.empty(codes.shape, np.uint8)
    for row in range(codes.shape[0]):
        for column in range(codes.shape[1]):
            code = codes[row, column]
            instances[row, column] = instance_of[code]
            semantic[row, column] = semantic_of[code]
    return instances, semantic
