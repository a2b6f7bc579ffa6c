"""What tags are assigned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.weak.annotations import Proposals


@dataclass(frozen=True)
class TagInputs:
    """What the tags of a run are assigned from; row j of every array is instance j of `proposals`.

    Attributes:
        paths: pictures of `proposals.names`.
        proposals: instances of frames with a known, non-empty set of keywords.
        classes: C names.
        allowed: (n, C) bool.
        attention: (n, C) float64 probabilities of eq 2.
        probabilities: (n, C) float64, of the classifier of regions.
        edges: (m, 2) int32.
        weights: (m,) float64.
    """

    paths: list[Path]
    proposals: Proposals
    classes: tuple[str, ...]
    allowed: NDArray[np.bool_]
    attention: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    edges: NDArray[np.int32]
    weights: NDArray[np.float64]
