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


def test_how_long_it_has_been_at_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("rtseg_ros.loading.time.monotonic", lambda: now[0])
    loading = Loading(get_logger("loading"), lambda: None)
    assert loading.busy_for == 0.0
    loading.progress = "loading lanes-lite"
    now[0] += 75.0
    assert loading.busy_for == 75.0
    loading.progress = "compiling kernels, once: 1 done, now find"
    assert loading.busy_for == 0.0
    loading.progress = ""
    now[0] += 1.0
    assert loading.busy_for == 0.0
