"""Head maps in which every output shows three blocks, so that every kernel is compiled before the first frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps

Painter = Callable[[NDArray[np.float32], NDArray[np.int32]], None]
"""Paints blocks, (h, w) int32 with 0 where there is none, on a map (C, h, w) of zeros."""


def paint_nothing(values: NDArray[np.float32], blocks: NDArray[np.int32]) -> None:
    """Leave the map as it is."""


def paint_channels(values: NDArray[np.float32], blocks: NDArray[np.int32]) -> None:
    """Give background channel 0, and each block a channel of its own as far as there are any."""
    values[0] = 1.0
    for number in (1, 2, 3):
        values[min(number, len(values) - 1), blocks == number] = 5.0


def paint_affinities(values: NDArray[np.float32], blocks: NDArray[np.int32]) -> None:
    """Join pixels inside a block, whatever the offset."""
    values[:] = np.where(blocks > 0, 0.9, 0.1)
    values[:, :, 1:][:, blocks[:, 1:] != blocks[:, :-1]] = 0.1


def warm_up_maps(card: ModelCard, painters: Mapping[str, Painter]) -> list[HeadMaps]:
    """Head maps of two frames in which every output shows three blocks: two side by side, and one apart.

    Args:
        card: names the outputs.
        painters: by kind of output; other outputs, and those that are no maps, stay 0.
    """
    frames = []
    for shift in (0.0, 0.05):
        maps = {}
        for output in card.outputs:
            sides = output.sides(card.input)
            values = maps[output.name] = np.zeros(sides, dtype=np.float32)
            if output.shape is not None:
                continue
            height, width = sides[2:]
            blocks = np.zeros((height, width), dtype=np.int32)
            for number, (start, end) in enumerate(((0.1, 0.3), (0.3, 0.5), (0.6, 0.9)), start=1):
                left, right = round((start + shift) * width), round((end + shift) * width)
                blocks[3 * height // 10 : 7 * height // 10, left:right] = number
            painters.get(output.kind, paint_nothing)(values[0], blocks)
        frames.append(maps)
    return frames
