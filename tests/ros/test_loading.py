"""What a node is told of the loading of its model."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.logging import get_logger
from rtseg_ros.loading import Loading
from rtseg_ros.parameters import LaneParameters

from rtseg import compiled
from rtseg.runtime import compilation
from tests.threshold_network import write_threshold_model

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("unkept", [[], ["no room in /full"]])
def test_kernels_that_cannot_be_kept_are_told_with_their_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unkept: list[str]
) -> None:
    # Which compiling finds out (tests/test_compiled.py), and takes its time.
    monkeypatch.setattr(compiled, "unkept", [])
    monkeypatch.setattr(compilation, "warm_up_told", lambda *_: compiled.unkept.extend(unkept))
    loading = Loading(get_logger("loading"), lambda: None)
    model = write_threshold_model(tmp_path / "thresholds")
    (pipeline,) = loading.load([("lanes", "model")], LaneParameters(model=str(model)))
    pipeline.close()
    assert loading.unkept == "".join(
        f"{reason}; every start compiles them anew; make room, or set NUMBA_CACHE_DIR, and start the node again"
        for reason in unkept
    )
