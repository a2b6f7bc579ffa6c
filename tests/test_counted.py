"""Counts and what they are of."""

from __future__ import annotations

import numpy as np

from rtseg.counted import counted


def test_of_one_there_is_no_plural() -> None:
    assert [counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert counted(np.int64(1), "labelled frame") == "1 labelled frame"
    assert [counted(n, "GPU") for n in (0.5, 1.0, 4.0)] == ["0.5 GPUs", "1 GPU", "4 GPUs"]
    assert counted(12_345_678, "frame") == "12345678 frames"
