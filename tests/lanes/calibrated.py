"""The confidence that a calibration gives several lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtseg.lanes.confidence import Calibration, share_of_right


def calibrated(measures: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """(n,) of (n, 2) evidence and slenderness."""
    lines = np.asarray(measures, np.float64).tolist()
    return np.array([share_of_right(evidence, slenderness, calibration) for evidence, slenderness in lines])
