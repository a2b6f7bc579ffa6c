from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.threshold_network import threshold_card, two_lane_road, write_threshold_model


@pytest.fixture
def card_content() -> dict[str, Any]:
    """A valid card for the threshold network, except that its hash is not filled in."""
    return threshold_card()


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a model folder; keyword arguments replace fields of the card."""

    def write(**fields: Any) -> Path:
        return write_threshold_model(tmp_path / "thresholds", **fields)

    return write


@pytest.fixture
def road() -> np.ndarray:
    """(144, 256, 3) uint8 BGR with a red and a green line."""
    return two_lane_road()
