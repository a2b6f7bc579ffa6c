"""Labelled pictures of lanes, whichever of the known kinds they are of."""

from __future__ import annotations

from pathlib import Path

from rtseg.lab.data.culane import CulaneImage, is_culane, read_culane
from rtseg.lab.data.tusimple import LabelledImage, read_labels


def read_lane_labels(path: str | Path) -> list[LabelledImage] | list[CulaneImage]:
    """Read what :func:`rtseg.lab.data.culane.read_culane` reads, or else label lines of TuSimple's kind (``*.json``).

    Raises:
        DatasetError: the labels are missing or do not parse.
    """
    return read_culane(path) if is_culane(path) else read_labels(path)
