"""How far true instances are, from Cityscapes' disparity maps and camera files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError, ImageError
from rtseg.lab.data.cityscapes import GtFineFrame
from rtseg.lab.data.instance_labels import InstanceTruth
from rtseg.media.images import read_stored


def instance_distances(frame: GtFineFrame, truth: InstanceTruth) -> NDArray[np.float64] | None:
    """Median distance of every instance of a frame.

    Args:
        frame: in a folder that may have ``disparity/<split>/<city>`` and ``camera/<split>/<city>``.
        truth: of the frame.

    Returns:
        (n,) metres, NaN where less than half of an instance's pixels have a disparity; None where the folder has none.

    Raises:
        DatasetError: one of the two files is there but not the other, or they do not parse.
    """
    root, city = frame.labels.parents[3], Path(*frame.labels.parts[-3:-1])
    disparity_path = root / "disparity" / city / f"{frame.name}_disparity.png"
    if not disparity_path.is_file():
        return None
    camera_path = root / "camera" / city / f"{frame.name}_camera.json"
    try:
        camera = json.loads(camera_path.read_text(encoding="utf-8"))
        scale = float(camera["extrinsic"]["baseline"]) * float(camera["intrinsic"]["fx"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"expected extrinsic.baseline and intrinsic.fx in {camera_path}: {error!r}") from error
    try:
        codes = read_stored(disparity_path)
    except ImageError as error:
        raise DatasetError(f"expected a PNG of disparities: {error}") from error
    if codes.shape != truth.instances.shape:
        raise DatasetError(f"expected a one-channel PNG of the frame's size at {disparity_path}")
    # 0 says that nothing was measured, else disparity * 256 + 1.
    distances = np.full(len(truth), np.nan)
    for i in range(len(truth)):
        inside = codes[truth.instances == i + 1].astype(np.float64)
        known = inside[inside > 0]
        if len(known) and 2 * len(known) >= len(inside):
            with np.errstate(divide="ignore"):
                distances[i] = np.median(scale / ((known - 1) / 256))
    return distances
