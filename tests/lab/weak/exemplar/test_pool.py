"""Exemplars cut out of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.exemplar.pool import PoolSettings, build_pool
from rtseg.media.images import write_image


def test_a_crop_without_any_object_is_left_also_where_the_smallest_is_taken(tmp_path: Path) -> None:
    picture = tmp_path / "plain.png"
    write_image(picture, np.full((60, 80, 3), 90, np.uint8))
    with pytest.raises(WeakSupervisionError, match=r"no object of fitting size \(4\)"):
        build_pool([picture], tmp_path / "pool", PoolSettings(count=2, tries=2, coverage=(0.0, 0.8)))
