"""What the diagnostics say: a level, a sentence and a cure for everything that is not as it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rtseg_ros.diagnostics import Limits, NodeHealth, describe
from rtseg_ros.statistics import Snapshot, StreamStatistics

from rtseg.runtime.scenes import CUT, PAUSE, REWIND
from rtseg.stream import INVALID, OLD, REASONS, STALE, FrameLoop

pytestmark = pytest.mark.ros
OK, WARN, ERROR = 0, 1, 2
HEALTHY = NodeHealth(
    state="active",
    topic="/front/image",
    publishers=1,
    facts={"backend": "ONNX Runtime", "device": "CPU"},
    profile_set=True,
)
SOUND = Snapshot(
    received=300,
    processed=300,
    dropped=dict.fromkeys(REASONS, 0),
    restarts={},
    lost_in_transport=0,
    fps=30.0,
    latency_ms=(12.0, 20.0),
    age_ms=(15.0, 25.0),
    clocks_apart=0.0,
    stages={"infer": (6.0, 8.0)},
    silent_for=0.03,
    busy_for=0.01,
    last_fault="",
    recent_received=300,
    recent_results=300,
    recent_faults=0,
    recent_lost=0,
    recent_dropped={STALE: 0, OLD: 0},
    recent_restarts={},
)


def status(health: NodeHealth = HEALTHY, **changes: Any) -> tuple[int, str]:
    told = describe("/front/lanes", health, replace(SOUND, **changes), Limits())
    return told.level[0], told.message


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
        ({"recent_dropped": {STALE: 0, OLD: 40}, "recent_results": 0}, ERROR, ("older than 1 s", "raise max_age")),
        ({"recent_dropped": {STALE: 150, OLD: 10}}, WARN, ("160 of 300", "150 because", "smaller model")),
        ({"recent_lost": 117, "recent_received": 39}, WARN, ("117 of 156", "lost in transport", "/dev/shm")),
        ({"latency_ms": (300.0, 493.0)}, WARN, ("493 ms after", "too slow")),
        ({"age_ms": (900.0, 950.0)}, WARN, ("900 ms old", "camera's delay")),
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


def test_little_is_no_trouble() -> None:
    assert status(recent_dropped={STALE: 20, OLD: 0}, recent_lost=10, latency_ms=(12.0, 200.0))[0] == OK
    assert (
        status(recent_received=3, recent_dropped={STALE: 2, OLD: 0}, recent_results=1, latency_ms=(900, 900))[0] == OK
    )
    assert status(clocks_apart=0.0, age_ms=(float("nan"), float("nan")))[0] == OK


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
    assert (first.recent_faults, first.recent_received, first.busy_for) == (5, 5, 1.0)
    statistics.end()
    for _ in range(30):
        now[0] += 1.0
        last = statistics.snapshot()
    assert (last.recent_faults, last.recent_received, last.received, last.busy_for) == (0, 0, 5, 0.0)
    assert last.last_fault == "broken"
    assert PAUSE not in last.restarts
