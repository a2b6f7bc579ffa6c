"""Flip inference: the network sees the frame and its mirror image, and the maps are averaged (GMIS, section 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ModelError
from rtseg.grouping import GMIS_OFFSETS
from rtseg.grouping.cascade import FOUR_NEIGHBORS
from rtseg.runtime.backends.base import Backend
from rtseg.runtime.card import ModelCard


class FlipBackend:
    """Runs another backend twice a frame: twice the time for a little accuracy.

    Affinities of a mirrored image join pixels in mirrored directions, so their channels change places; all other maps
    must mean the same when mirrored, as semantics do.

    Raises:
        ModelError: if an output has a meaning that a mirror changes.
    """

    def __init__(self, backend: Backend, card: ModelCard) -> None:
        self.name = backend.name
        self._backend = backend
        self._channels: dict[str, list[int] | None] = {}
        for output in card.outputs:
            if output.name.startswith("semantic"):
                self._channels[output.name] = None
            elif output.name.startswith("affinity") and output.channels in (len(GMIS_OFFSETS), len(FOUR_NEIGHBORS)):
                offsets = GMIS_OFFSETS if output.channels == len(GMIS_OFFSETS) else FOUR_NEIGHBORS
                self._channels[output.name] = [offsets.index((dy, -dx)) for dy, dx in offsets]
            else:
                raise ModelError(
                    f"the card of {card.name} does not fit: grouping.parameters.flip: expected semantics and "
                    f"affinities to average, got an output {output.name}; set it to false"
                )

    def infer(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        maps = self._backend.infer(tensor)
        mirrored = self._backend.infer(np.ascontiguousarray(tensor[..., ::-1]))
        averaged = {}
        for name, channels in self._channels.items():
            other = mirrored[name] if channels is None else mirrored[name][:, channels]
            averaged[name] = 0.5 * (maps[name] + other[..., ::-1])
        return averaged

    def warm_up(self) -> None:
        self._backend.warm_up()

    def describe(self) -> dict[str, str]:
        return {**self._backend.describe(), "flip": "averaged with the mirror image"}

    def close(self) -> None:
        self._backend.close()
