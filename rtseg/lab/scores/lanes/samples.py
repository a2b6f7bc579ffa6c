"""Pictures with the truth about their lanes: TuSimple's and CULane's folders, and rendered roads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError, ImageError
from rtseg.lab.data.culane import CulaneImage
from rtseg.lab.data.lane_labels import check_pictures, read_lane_labels
from rtseg.lab.data.tusimple import LabelledImage
from rtseg.media.images import read_image

TUSIMPLE_WIDTH = 1280
FIRST_RENDERED_SEED = 900_000  # away from the seeds that training draws
_TUSIMPLE_ROWS = np.arange(160.0, 711.0, 10.0)


@dataclass(frozen=True)
class LaneSample:
    """One labelled picture.

    Attributes:
        name: what to call it.
        image: (H, W, 3) uint8 BGR.
        truth: polylines (k, 2) of (x, y) in pixels.
        lanes: (n, m) x of the truth at each row, NaN where absent.
        h_samples: (m,) rows at which TuSimple compares, in pixels of the picture.
        conditions: what kind of picture it is, for tables by condition.
    """

    name: str
    image: NDArray[np.uint8]
    truth: tuple[NDArray[np.float32], ...]
    lanes: NDArray[np.float64]
    h_samples: NDArray[np.float64]
    conditions: dict[str, str]


def labelled_samples(data: str | Path, images: Path | None = None) -> tuple[Iterator[LaneSample], int]:
    """Pictures that a person labelled, and their number.

    Args:
        data: what `rtseg.lab.data.lane_labels.read_lane_labels` reads.
        images: folder of the pictures, where they lie outside of the labels' own.

    Raises:
        DatasetError: the labels do not parse, or a picture is missing; while iterating, one does not decode.
    """
    labels = read_lane_labels(data, images=images)
    check_pictures(labels)
    return samples_of(labels), len(labels)


def samples_of(labels: Iterable[LabelledImage | CulaneImage]) -> Iterator[LaneSample]:
    """Read the pictures of labels.

    Raises:
        DatasetError: while iterating, a picture is missing or does not decode.
    """
    for label in labels:
        yield sample_of(label, labelled_picture(label))


def labelled_picture(label: LabelledImage | CulaneImage) -> NDArray[np.uint8]:
    """Read a label's picture, (H, W, 3) uint8 BGR.

    Raises:
        DatasetError: it is missing or does not decode.
    """
    try:
        return read_image(label.image)
    except ImageError as error:
        raise DatasetError(f"expected the labelled picture {label.name}: {error}") from error


def sample_of(label: LabelledImage | CulaneImage, image: NDArray[np.uint8]) -> LaneSample:
    """The sample of a label and the (H, W, 3) uint8 BGR picture that it is of."""
    truth = label.polylines()
    count = {"lanes": str(len(truth))}
    if isinstance(label, CulaneImage):
        category = {"category": label.category} if label.category else {}
        return _sample(label.name, image, truth, {**category, **count})
    lanes = np.where(label.lanes >= 0, label.lanes, np.nan)
    return LaneSample(label.name, image, truth, lanes, label.h_samples, count)


def rendered_samples(
    frames: int, size: tuple[int, int] = (360, 640), first_seed: int = FIRST_RENDERED_SEED
) -> Iterator[LaneSample]:
    """Render pictures with their truth; the same arguments give the same pictures."""
    from rtseg.lab.render import render_road

    for seed in range(first_seed, first_seed + frames):
        road = render_road(seed, size=size)
        conditions = {name: value for name, value in road.description.items() if isinstance(value, str)}
        conditions["lines"] = str(len(road.lanes))
        yield _sample(f"seed {seed}", road.image, road.lanes, conditions)


def _sample(
    name: str, image: NDArray[np.uint8], lines: tuple[NDArray[np.float32], ...], conditions: dict[str, str]
) -> LaneSample:
    """The sample of a picture whose lanes are polylines; TuSimple's rows are taken for a picture of their width."""
    height, width = image.shape[:2]
    rows = _TUSIMPLE_ROWS * width / TUSIMPLE_WIDTH
    rows = rows[rows < height]
    lanes = np.array([_sampled(line, rows) for line in lines]).reshape(-1, rows.size)
    # Labels may go on outside of the picture, where nothing can be found.
    lanes[(lanes < 0) | (lanes > width - 1)] = np.nan
    return LaneSample(name, image, lines, lanes, rows, conditions)


def _sampled(line: NDArray[np.float32], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(line):
        return np.full(rows.size, np.nan)
    return np.interp(rows, line[:, 1], line[:, 0], left=np.nan, right=np.nan)
