"""The colors of a frame as runs: what lane lines are made of, whether the CPU or a device colored the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.ops import Runs, label_runs
from rtseg.ops.color_runs import label_color_runs


@dataclass(frozen=True)
class ColorRuns:
    """A color image.

    Attributes:
        runs: its 8-connected components, as :func:`rtseg.ops.label_runs` gives them.
        colors: (r,) uint8 color of each run.
        logits: (n + 1, h, w) finite float32 that the colors come from.
    """

    runs: Runs
    colors: NDArray[np.uint8]
    logits: NDArray[np.float32]

    @staticmethod
    def of(colors: NDArray[np.uint8], logits: NDArray[np.float32]) -> ColorRuns:
        """Find the runs of an (H, W) uint8 color image."""
        runs = label_runs(colors, 8)
        rows = np.repeat(np.arange(len(runs.rows) - 1), np.diff(runs.rows))
        return ColorRuns(runs, colors[rows, runs.starts], logits)

    @staticmethod
    def of_logits(
        logits: NDArray[np.float32], size: tuple[int, int], ignored: NDArray[np.bool_] | None = None
    ) -> ColorRuns:
        """Find the runs of an image (H, W) colored by logits (n + 1, h, w), with background where it is ignored.

        Raises:
            GroupingError: if the logits are not finite.
            ArgumentError: if they have the wrong shape.
        """
        return ColorRuns(*label_color_runs(logits, size, ignored), logits)
