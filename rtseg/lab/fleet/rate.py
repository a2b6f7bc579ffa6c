"""Which frames of a recording a node would have dropped, had they come at the recorded rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stale_at_rate(arrivals: NDArray[np.float64], busy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which frames a newer one would have replaced while they waited.

    While one frame is worked on, the newest of those that arrive waits.

    Args:
        arrivals: (n,) milliseconds, NaN for frames that take no part.
        busy: (n,) milliseconds that each takes, NaN for frames that take no part.

    Returns:
        (n,) bool.
    """
    stale = np.zeros(len(arrivals), dtype=np.bool_)
    waiting, free, last = -1, -np.inf, -np.inf
    for index in np.flatnonzero(np.isfinite(arrivals) & np.isfinite(busy)):
        now = arrivals[index]
        if now < last:  # the stamps went back: nothing of before waits any longer
            free = -np.inf
        last = now
        if waiting >= 0:
            if free <= now:
                free = max(free, arrivals[waiting]) + busy[waiting]
            else:
                stale[waiting] = True
        waiting = int(index)
    return stale
