"""What may be told of a camera by its pictures; :mod:`rtseg.camera.health` finds it."""

from __future__ import annotations

from dataclasses import dataclass

FROZEN, DARK, BLOWN_OUT, DEFOCUSED, COVERED, FILLED = (
    "frozen",
    "dark",
    "blown out",
    "defocused",
    "covered",
    "filled",
)
FAULTS = (FROZEN, DARK, BLOWN_OUT, DEFOCUSED, COVERED, FILLED)
"""What may be wrong with a camera's pictures.

frozen: one picture comes again and again. dark: nothing can be seen, as through a lens cap; a night is not dark.
blown out: most of it, or of its lower half, is saturated. defocused: hardly an edge is sharp. covered: a part of what
was sharp, or moved with the road, is so no longer: dirt, water, a sticker. filled: a decoder painted gray what it did
not get.
"""


@dataclass(frozen=True)
class CameraState:
    """How a camera does.

    Attributes:
        faults: those of :data:`FAULTS` that last, in their order.
        trust: in [0, 1], what confidence in anything found is to be multiplied with; 1 without faults.
        moving: whether the picture changes as it does while one drives; None where that cannot be told, as of a still.
    """

    faults: tuple[str, ...] = ()
    trust: float = 1.0
    moving: bool | None = None
