"""The status word that kernels set on the device, and its reading afterwards."""

from __future__ import annotations

from typing import Any

from rtseg.errors import ArgumentError, GroupingError

REGION_OVERFLOW = 1
EDGE_OVERFLOW = 2
NOT_CONVERGED = 4
BAD_AFFINITY = 8
BAD_LABEL = 16
BAD_MAPS = 32

_SENTENCES = {
    REGION_OVERFLOW: "expected no more regions than the plan has room for, got more; make it with more `regions`",
    EDGE_OVERFLOW: "expected no more region edges than the plan has room for, got more; make it with more `edges`",
    NOT_CONVERGED: "expected merging to end within the plan's rounds, it did not; make it with more `tail_rounds`",
    BAD_AFFINITY: "expected affinities in [0, 1], got NaN or values outside; apply a sigmoid to logits first",
    BAD_LABEL: "expected labels 0..count, got others; give the count of the label image",
    BAD_MAPS: "expected finite maps, got NaN or infinite values; check the network's input and weights",
}


def check_status(status: Any) -> None:
    """Read a plan's status word (waits for the device) and raise what it says.

    Args:
        status: (1,) int32 on the device.

    Raises:
        GroupingError: the maps hold values that no sound network gives.
        ArgumentError: the plan's room or the labels' count does not fit. What the run wrote is then not to be used.
    """
    bits = int(status[0])
    for bit, sentence in _SENTENCES.items():
        if bits & bit:
            raise GroupingError(sentence) if bit in (BAD_AFFINITY, BAD_MAPS) else ArgumentError(sentence)
