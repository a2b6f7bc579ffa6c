"""The node's state in the words of /diagnostics."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from rtseg.camera.state import BLOWN_OUT, COVERED, DARK, DEFOCUSED, FILLED, FROZEN
from rtseg.counted import counted
from rtseg.lanes import Mounting
from rtseg.lanes.mounting import RIGHT, WRONG
from rtseg.runtime.scenes import REWIND
from rtseg.stream import OLD, STALE
from rtseg_ros.statistics import Snapshot, Window
from rtseg_ros.transport import PROFILE_NAME, PROFILE_VARIABLES

_CAMERA_CURES = {
    FROZEN: "the same picture comes again and again; restart the camera or its driver",
    DARK: "nothing can be seen; look for a lens cap, and at exposure and gain",
    BLOWN_OUT: "most of the road is white; look at exposure and gain, and for the sun in the lens",
    DEFOCUSED: "no edge is sharp; focus the lens, and clean it or wait until it is dry",
    COVERED: "a part of the picture stands still or is blurred; clean the lens and the windscreen",
    FILLED: "a part of the picture is gray, as decoders fill what they did not get; look at transport and encoder",
}
_FEW = 5  # frames of which no share is judged
_FEWEST = 3  # frames of which one may be bad
_LONG_SECONDS = 60.0  # for a model to be opened, or for one kernel to be compiled, on the slowest of machines
_AHEAD_MS = 100.0  # clocks that are set by each other over a network agree better than that


@dataclass(frozen=True)
class Limits:
    """What the diagnostics call too much; the node's parameters of these names.

    Attributes:
        silence_warning: seconds without a frame.
        drop_warning: share of the frames that were dropped because they were stale or old.
        loss_warning: share of the frames that the middleware lost.
        latency_warning: seconds from reception to publication, 99th percentile.
        age_warning: seconds from a frame's stamp to publication, median, where the clocks agree.
        max_age: seconds after which a frame is dropped.
        watchdog: seconds for which the worker may be at one frame.
    """

    silence_warning: float = 1.5
    drop_warning: float = 0.1
    loss_warning: float = 0.05
    latency_warning: float = 0.25
    age_warning: float = 0.5
    max_age: float = 1.0
    watchdog: float = 10.0


@dataclass(frozen=True)
class NodeHealth:
    """What the diagnostics are written from.

    Attributes:
        state: lifecycle state by name.
        error: why the last transition failed, or empty.
        progress: what a transition that is under way is at, or empty.
        progress_for: seconds for which it has been at that.
        topic: the image topic subscribed to, or empty.
        publishers: how many publishers of that topic the node sees.
        foreign_types: message types on that topic which are not the node's.
        subscribed_topics: the node's own that somebody subscribes to; for the others nothing is computed.
        qos_conflicts: incompatible QoS met so far, one sentence each.
        rivals: topics of the node's own that another node publishes as well.
        clock_stands: whether use_sim_time is set and no time has come.
        hints: further things the user should know, one sentence each.
        facts: fixed key-value pairs (model, backend...).
        profile_set: whether a Fast DDS profile is named in the environment.
        fast_dds: whether the middleware is Fast DDS, to which the profile applies.
    """

    state: str
    error: str = ""
    progress: str = ""
    progress_for: float = 0.0
    topic: str = ""
    publishers: int = 0
    foreign_types: Sequence[str] = ()
    subscribed_topics: Sequence[str] = ()
    qos_conflicts: Sequence[str] = ()
    rivals: Sequence[str] = ()
    clock_stands: bool = False
    hints: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    profile_set: bool = False
    fast_dds: bool = True


def status_name(node: str) -> str:
    """The name of a node's status; `node` with its namespace, so that two cameras' are told apart.

    >>> status_name("/front/lanes")
    'front/lanes: camera to masks'
    """
    return f"{node.lstrip('/')}: camera to masks"


def describe(node: str, health: NodeHealth, statistics: Snapshot, limits: Limits) -> DiagnosticStatus:
    """Write the status: level, what is wrong and how to mend it, and every figure."""
    level, message = _judge(health, statistics, limits)
    counts, recent = statistics.counts, statistics.recent
    values = {
        "state": health.state,
        **health.facts,
        "topic": health.topic,
        "publishers": str(health.publishers),
        "subscribed_topics": ", ".join(health.subscribed_topics),
        "received": str(counts.received),
        "processed": str(counts.processed),
        "dropped": str(sum(counts.dropped.values())),
        **{f"dropped_{reason}": str(count) for reason, count in counts.dropped.items()},
        "lost_in_transport": str(statistics.lost_in_transport),
        "stamps_backwards": str(counts.restarts.get(REWIND, 0)),
        "restarts": str(sum(counts.restarts.values())),
        "restarts_by_reason": _listed(counts.restarts),
        "degraded": ", ".join(counts.degraded),
        "degraded_frames": _listed(counts.degraded_frames),
        "clocks_apart_s": f"{counts.clocks_apart:.1f}",
        "fps": f"{statistics.fps:.1f}",
        "latency_p50_ms": f"{recent.latency_ms[0]:.1f}",
        "latency_p99_ms": f"{recent.latency_ms[1]:.1f}",
        "stamp_to_publish_p50_ms": f"{recent.age_ms[0]:.1f}",
        "stamp_to_publish_p99_ms": f"{recent.age_ms[1]:.1f}",
        **{f"stage_{stage}_p50_ms": f"{p50:.2f}" for stage, (p50, _) in statistics.stages.items()},
        **{f"stage_{stage}_p99_ms": f"{p99:.2f}" for stage, (_, p99) in statistics.stages.items()},
        "busy_with_one_frame_s": f"{statistics.busy_for:.1f}",
        "seconds_since_frame": f"{statistics.silent_for:.1f}",
        "last_fault": counts.last_fault,
        "qos_conflicts": "; ".join(health.qos_conflicts),
    }
    return DiagnosticStatus(
        level=level,
        name=status_name(node),
        message=message,
        hardware_id=f"{platform.node() or 'this machine'}, {health.facts.get('device', 'no device yet')}",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def describe_mounting(node: str, mounting: Mounting) -> DiagnosticStatus:
    """Write the status of how the camera is mounted: OK only if the road says so, STALE until it has said enough."""
    level = {RIGHT: DiagnosticStatus.OK, WRONG: DiagnosticStatus.WARN}.get(mounting.verdict, DiagnosticStatus.STALE)
    values = {"verdict": mounting.verdict, "stretches": str(mounting.stretches)}
    for name, (figure, scale, _) in mounting.figures.items():
        values[name] = f"{scale * figure.configured:.2f}"
        values[f"{name}_seen"] = f"{scale * figure.seen:.2f}"
        values[f"{name}_spread"] = f"{scale * figure.spread:.2f}"
        values[f"{name}_verdict"] = figure.verdict
    return DiagnosticStatus(
        level=level,
        name=f"{node.lstrip('/')}: camera mounting",
        message=mounting.describe(),
        hardware_id=platform.node(),
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _judge(health: NodeHealth, statistics: Snapshot, limits: Limits) -> tuple[bytes, str]:
    """Level, and all that is wrong at that level, gravest first, as diagnostic_updater merges summaries."""
    if health.progress_for > _LONG_SECONDS:
        return DiagnosticStatus.WARN, (
            f"{health.progress} for {health.progress_for:.0f} s so far: a card's engine takes minutes to compile, "
            "once; otherwise the network does not come to its end, and another backend or model is to be tried"
        )
    if health.progress:
        return DiagnosticStatus.OK, health.progress
    if health.error:
        return DiagnosticStatus.ERROR, health.error
    if health.state != "active":
        return DiagnosticStatus.OK, health.state
    for level, remarks in ((DiagnosticStatus.ERROR, _failures), (DiagnosticStatus.WARN, _remarks)):
        told = list(remarks(health, statistics, limits))
        if told:
            return level, "; ".join(told)
    return DiagnosticStatus.OK, f"{statistics.fps:.1f} frames/s"


def _failures(health: NodeHealth, statistics: Snapshot, limits: Limits) -> Iterator[str]:
    """Why no result comes though frames do."""
    if statistics.busy_for > limits.watchdog:
        yield (
            f"the worker has been at one frame for {statistics.busy_for:.0f} s and gives no result: restart the node, "
            "and try another backend or model"
        )
        return
    windows = [(statistics.latest, _FEWEST), (statistics.recent, 1)]
    if any(window.faults >= least and not window.results for window, least in windows):
        yield f"no frame could be processed: {statistics.counts.last_fault}"
    if any(window.dropped[OLD] >= least and not window.results for window, least in windows):
        yield (
            f"every frame was older than {limits.max_age:g} s when it came or when its result was there, and was "
            "dropped: look at the camera's delay and at the clocks, take a faster model, or raise max_age"
        )


def _remarks(health: NodeHealth, statistics: Snapshot, limits: Limits) -> Iterator[str]:
    """What is not as it should be though results come, or no frame does."""
    if statistics.silent_for > limits.silence_warning:
        yield explain_silence(health, statistics)
    for fault in statistics.counts.degraded:
        yield f"the camera is {fault}, and confidence lowered: {_CAMERA_CURES[fault]}"
    if health.publishers > 1:
        yield f"{health.publishers} publishers on {health.topic}: their frames mix; stop one or remap it"
    if health.rivals:
        yield f"another node publishes {', '.join(health.rivals)} too, and results mix; stop it or give it another name"
    yield from health.qos_conflicts
    if statistics.recent.faults:
        yield (
            f"{counted(statistics.recent.faults, 'frame')} {_time(statistics.recent)} gave no result: "
            f"{statistics.counts.last_fault}"
        )
    if statistics.recent.restarts:
        yield f"ids started anew: {_listed(statistics.recent.restarts)}"
    yield from _late(statistics, limits)
    yield from health.hints
    apart = statistics.counts.clocks_apart
    if health.clock_stands:
        yield "use_sim_time is set and no /clock comes: play the bag with --clock, or set use_sim_time to false"
    elif apart:
        where = "behind" if apart > 0 else "ahead of"
        yield (
            f"stamps lie {abs(apart):.0f} s {where} this node's clock, so that the age of frames is not known: set the "
            "clocks, or play a bag with --clock and set use_sim_time"
        )


def _late(statistics: Snapshot, limits: Limits) -> Iterator[str]:
    """What is lost, dropped or slow: in the latest window, so that it is told while it is new, or lastingly."""
    for window in _windows(statistics):
        stale, old = window.dropped[STALE], window.dropped[OLD]
        if window.received > _FEW and stale + old > limits.drop_warning * window.received:
            yield (
                f"{stale + old} of {window.received} frames {_time(window)} were dropped, {stale} because a newer one "
                f"had come and {old} for their age: this machine is too busy, or too slow for camera and model; lower "
                "the camera's rate or take a smaller model"
            )
            break
    for window in _windows(statistics):
        sent = window.received + window.lost
        if sent > _FEW and window.lost > limits.loss_warning * sent:
            yield f"{window.lost} of {sent} frames {_time(window)} were lost in transport: {_TRANSPORT_CURE}"
            break
    # One slow frame, as the first ones are, is no lasting latency.
    latest, recent = statistics.latest.latency_ms[0], statistics.recent.latency_ms[1]
    slow = 1e3 * limits.latency_warning
    if (statistics.recent.results > _FEW and recent > slow) or (statistics.latest.results > 1 and latest > slow):
        yield (
            f"results come {recent:.0f} ms after their frames (99th percentile): this machine is too busy or too slow; "
            "take a smaller model or another device"
        )
    for window in _windows(statistics):
        if not statistics.counts.clocks_apart and window.age_ms[0] < -_AHEAD_MS:
            yield (
                f"stamps lie {-window.age_ms[0]:.0f} ms ahead of this node's clock, and frames seem younger than they "
                "are: set the clocks of camera and node by each other"
            )
            break
    for window in _windows(statistics):
        if not statistics.counts.clocks_apart and window.age_ms[0] > 1e3 * limits.age_warning:
            yield (
                f"frames are {window.age_ms[0]:.0f} ms old when their result is published, of which "
                f"{window.latency_ms[0]:.0f} ms in this node: look at the camera's delay, the transport and the clocks"
            )
            break


_TRANSPORT_CURE = (
    f"set {' and '.join(PROFILE_VARIABLES)} to rtseg's {PROFILE_NAME} for camera and node, and give shared memory "
    "(/dev/shm) room"
)


def _windows(statistics: Snapshot) -> tuple[Window, Window]:
    return statistics.latest, statistics.recent


def _time(window: Window) -> str:
    return f"of the last {window.seconds:g} s"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())


def explain_silence(health: NodeHealth, statistics: Snapshot) -> str:
    """Say why no frame comes, as far as the node can know, and what to do about it."""
    silence = f"no frame on {health.topic} for {statistics.silent_for:.0f} s"
    if health.foreign_types:
        return f"{silence}: it carries {', '.join(health.foreign_types)}; remap the image topic or set transport"
    if not health.publishers:
        return f"{silence}: nothing publishes it; start the camera or remap the topic"
    matched = f"{silence} though {counted(health.publishers, 'publisher')} matched"
    if statistics.latest.lost:
        return f"{matched}: {statistics.latest.lost} were lost in transport; {_TRANSPORT_CURE}"
    if statistics.counts.received:
        return f"{matched}: the camera has stopped"
    if not health.fast_dds:
        return f"{matched}: the camera is idle, or the middleware loses large messages"
    if health.profile_set:
        return (
            f"{matched}: the camera is idle, or it runs without the large-frame profile; set "
            f"{' and '.join(PROFILE_VARIABLES)} to {PROFILE_NAME} for the camera's process too"
        )
    return (
        f"{matched}: the camera is idle, or Fast DDS loses large frames; set {' and '.join(PROFILE_VARIABLES)} to "
        f"rtseg's {PROFILE_NAME} for the camera and for this node"
    )
