"""What the diagnostics say: a level, a sentence and a cure for everything that is not as it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rtseg_ros.diagnostics import Limits, NodeHealth, describe, describe_mounting
from rtseg_ros.statistics import Snapshot, StreamStatistics, Window

from rtseg.camera import Mount
from rtseg.camera.state import FAULTS
from rtseg.lanes import Mounting
from rtseg.lanes.mounting import RIGHT, WRONG, Watched
from rtseg.runtime.scenes import CUT, PAUSE, REWIND
from rtseg.stream import INVALID, OLD, REASONS, STALE, FrameCounts, FrameLoop

pytestmark = pytest.mark.ros
OK, WARN, ERROR = 0, 1, 2
HEALTHY = NodeHealth(
    state="active",
    topic="/front/image",
    publishers=1,
    facts={"backend": "ONNX Runtime", "device": "CPU"},
    profile_set=True,
)
LATEST = Window(
    seconds=1.5,
    received=60,
    results=60,
    faults=0,
    dropped={STALE: 0, OLD: 0},
    lost=0,
    restarts={},
    latency_ms=(12.0, 20.0),
    age_ms=(15.0, 25.0),
)
SOUND = Snapshot(
    counts=FrameCounts(300, 300, dict.fromkeys(REASONS, 0), {}, (), {}, "", 0.0),
    lost_in_transport=0,
    fps=30.0,
    recent=replace(LATEST, seconds=10.0, received=300, results=300),
    latest=LATEST,
    stages={"infer": (6.0, 8.0)},
    silent_for=0.03,
    busy_for=0.01,
)


def status(health: NodeHealth = HEALTHY, **changes: Any) -> tuple[int, str]:
    """Level and message; changes are those of a snapshot, with ``recent_`` or ``latest_`` those of that window."""
    windows = {}
    for name in ("recent", "latest"):
        of_window = {key: changes.pop(key) for key in list(changes) if key.startswith(f"{name}_")}
        fields = {key.removeprefix(f"{name}_"): value for key, value in of_window.items()}
        windows[name] = replace(getattr(SOUND, name), **fields)
    of_counts = {key: changes.pop(key) for key in ("last_fault", "clocks_apart", "degraded") if key in changes}
    figures = replace(SOUND, counts=replace(SOUND.counts, **of_counts), **windows, **changes)
    told = describe("/front/lanes", health, figures, Limits())
    return told.level[0], told.message


def test_what_is_wrong_with_the_camera_is_a_warning_with_a_cure() -> None:
    for fault in FAULTS:
        level, message = status(degraded=(fault,))
        assert level == WARN
        assert message.startswith(f"the camera is {fault}, and confidence lowered: ")


def test_a_sound_stream_is_ok_and_named_by_its_namespace() -> None:
    assert status() == (OK, "30.0 frames/s")
    told = describe("/front/lanes", HEALTHY, SOUND, Limits())
    assert told.name == "front/lanes: camera to masks"
    assert told.hardware_id.endswith(", CPU")
    assert describe("/lanes", NodeHealth(state="unconfigured"), SOUND, Limits()).hardware_id


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"busy_for": 12.0}, ERROR, ("at one frame for 12 s", "restart the node")),
        ({"silent_for": 9.0}, WARN, ("no frame on /front/image for 9 s",)),
        ({"recent_faults": 5, "recent_results": 0, "last_fault": "broken"}, ERROR, ("no frame could be", "broken")),
        ({"recent_faults": 5, "last_fault": "broken"}, WARN, ("5 frames", "broken")),
        ({"latest_faults": 9, "latest_results": 0, "last_fault": "broken"}, ERROR, ("no frame could be", "broken")),
        ({"recent_dropped": {STALE: 0, OLD: 40}, "recent_results": 0}, ERROR, ("older than 1 s", "raise max_age")),
        ({"latest_dropped": {STALE: 0, OLD: 40}, "latest_results": 0}, ERROR, ("older than 1 s", "raise max_age")),
        ({"recent_dropped": {STALE: 150, OLD: 10}}, WARN, ("160 of 300", "150 because", "smaller model")),
        ({"recent_lost": 117, "recent_received": 39}, WARN, ("117 of 156", "lost in transport", "/dev/shm")),
        ({"latest_dropped": {STALE: 12, OLD: 3}}, WARN, ("15 of 60", "of the last 1.5 s", "smaller model")),
        ({"latest_lost": 10}, WARN, ("10 of 70", "lost in transport", "/dev/shm")),
        ({"silent_for": 9.0, "latest_lost": 60}, WARN, ("no frame", "60 were lost in transport", "/dev/shm")),
        ({"recent_latency_ms": (300.0, 493.0)}, WARN, ("493 ms after", "too slow")),
        ({"latest_latency_ms": (300.0, 310.0)}, WARN, ("ms after", "too slow")),
        ({"recent_age_ms": (900.0, 950.0)}, WARN, ("900 ms old", "camera's delay")),
        ({"latest_age_ms": (900.0, 950.0)}, WARN, ("900 ms old", "camera's delay")),
        ({"recent_age_ms": (-900.0, -850.0)}, WARN, ("900 ms ahead of this node's clock", "set the clocks")),
        ({"latest_age_ms": (-900.0, -850.0)}, WARN, ("900 ms ahead of this node's clock", "set the clocks")),
        ({"clocks_apart": 1.7e9}, WARN, ("1700000000 s behind this node's clock", "--clock")),
        ({"clocks_apart": -3600.0}, WARN, ("3600 s ahead of this node's clock", "set the clocks")),
        (
            {"recent_restarts": {REWIND: 2, CUT: 1}},
            WARN,
            ("ids started anew: stamps went back (2), scene changed (1)",),
        ),
    ],
)
def test_every_trouble_is_told_with_its_cure(changes: dict[str, Any], level: int, words: tuple[str, ...]) -> None:
    found, message = status(**changes)
    assert found == level, message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"publishers": 2}, ("2 publishers on /front/image", "stop one")),
        ({"rivals": ["/lanes/lane_mask"]}, ("another node publishes /lanes/lane_mask too", "another name")),
        ({"clock_stands": True}, ("no /clock comes", "--clock")),
        ({"hints": ["no camera_info"]}, ("no camera_info",)),
        ({"qos_conflicts": ["QoS"]}, ("QoS",)),
    ],
)
def test_what_the_graph_shows_is_told(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    level, message = status(replace(HEALTHY, **changes))
    assert level == WARN
    for word in words:
        assert word in message


def test_a_model_that_is_loaded_for_ever_is_told() -> None:
    loading = NodeHealth(state="unconfigured", progress="loading mine", progress_for=5.0)
    assert status(loading) == (OK, "loading mine")
    level, message = status(replace(loading, progress_for=75.0))
    assert level == WARN
    assert message.startswith("loading mine for 75 s so far: ")
    assert "another backend or model" in message


def test_little_is_no_trouble() -> None:
    assert status(recent_dropped={STALE: 20, OLD: 0}, recent_lost=10, recent_latency_ms=(12.0, 200.0))[0] == OK
    few = {"received": 3, "dropped": {STALE: 2, OLD: 0}, "results": 1, "latency_ms": (900.0, 900.0)}
    both = {f"{window}_{key}": value for window in ("recent", "latest") for key, value in few.items()}
    assert status(**both)[0] == OK
    assert status(recent_age_ms=(-20.0, 5.0), latest_age_ms=(-20.0, 5.0))[0] == OK
    unknown = (float("nan"), float("nan"))
    assert status(recent_age_ms=unknown, latest_age_ms=unknown)[0] == OK
    # Two bad frames are no camera that gives nothing else.
    assert status(latest_faults=2, latest_results=0, recent_faults=2, last_fault="broken")[0] == WARN


def test_nothing_hides_behind_what_is_graver() -> None:
    level, message = status(replace(HEALTHY, publishers=2, hints=["no camera_info"]), recent_faults=5, silent_for=9.0)
    assert level == WARN
    for word in ("no frame on", "2 publishers", "5 frames", "no camera_info"):
        assert word in message


def test_statistics_tell_the_last_ten_seconds_from_all_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("rtseg_ros.statistics.time.monotonic", lambda: now[0])
    loop: FrameLoop[int] = FrameLoop()
    statistics = StreamStatistics(loop)
    for _ in range(5):
        loop.admit(None)
        loop.drop(INVALID, "broken")
    statistics.begin()
    now[0] += 1.0
    first = statistics.snapshot()
    assert (first.recent.faults, first.recent.received, first.busy_for) == (5, 5, 1.0)
    assert first.latest.faults == 5
    statistics.end()
    for _ in range(30):
        now[0] += 1.0
        last = statistics.snapshot()
    assert (last.recent.faults, last.recent.received, last.counts.received, last.busy_for) == (0, 0, 5, 0.0)
    assert last.counts.last_fault == "broken"
    assert PAUSE not in last.counts.restarts


def test_statistics_tell_the_latest_seconds_from_the_last_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("rtseg_ros.statistics.time.monotonic", lambda: now[0])
    loop: FrameLoop[int] = FrameLoop()
    statistics = StreamStatistics(loop)
    for tick in range(120):  # 30 s; the last 1.5 are slow, and lose frames
        now[0] += 0.25
        loop.admit(None)
        loop.finish([])
        slow = tick >= 114
        statistics.publish(now[0] - (0.4 if slow else 0.01), 0.02, {"infer": 1.0})
        statistics.lose(slow)
        figures = statistics.snapshot()
    assert (figures.recent.received, figures.latest.received) == (40, 6)
    assert (figures.recent.results, figures.latest.results) == (41, 7)
    assert figures.latest.latency_ms[0] == pytest.approx(400.0)
    assert figures.recent.latency_ms[0] == pytest.approx(10.0)
    assert figures.recent.lost == figures.latest.lost == figures.lost_in_transport == 6


def test_a_mounting_is_ok_only_once_the_road_says_so() -> None:
    right = Watched(0.02, 0.021, 0.001, RIGHT)
    wrong = Watched(0.02, 0.06, 0.001, WRONG)
    told = {
        OK: Mounting(Mount(), right, right, Watched(1.5, 1.5, 0.1, RIGHT), 60),
        WARN: Mounting(Mount(), wrong, right, Watched(1.5, 1.5, 0.1), 60),
        3: Mounting(Mount(), Watched(0.02), Watched(0.02), Watched(1.5), 3),
    }
    for level, mounting in told.items():
        status = describe_mounting("/front/lanes", mounting)
        assert (status.name, status.level[0]) == ("front/lanes: camera mounting", level)
    assert "set pitch_deg: 3.4" in describe_mounting("/lanes", told[WARN]).message
    assert "not enough road seen yet" in describe_mounting("/lanes", told[3]).message
