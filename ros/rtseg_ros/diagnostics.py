"""The node's state in the words of /diagnostics."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from rtseg.runtime.scenes import REWIND
from rtseg.stream import OLD, STALE
from rtseg_ros.statistics import WINDOW_SECONDS, Snapshot
from rtseg_ros.transport import PROFILE_NAME, PROFILE_VARIABLES

_FEW = 5  # frames of the last ten seconds, of which no share is judged


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

    silence_warning: float = 2.0
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
    """Write the status: level, one sentence, and every figure."""
    level, message = _judge(health, statistics, limits)
    values = {
        "state": health.state,
        **health.facts,
        "topic": health.topic,
        "publishers": str(health.publishers),
        "subscribed_topics": ", ".join(health.subscribed_topics),
        "received": str(statistics.received),
        "processed": str(statistics.processed),
        "dropped": str(sum(statistics.dropped.values())),
        **{f"dropped_{reason}": str(count) for reason, count in statistics.dropped.items()},
        "lost_in_transport": str(statistics.lost_in_transport),
        "stamps_backwards": str(statistics.restarts.get(REWIND, 0)),
        "restarts": str(sum(statistics.restarts.values())),
        "restarts_by_reason": _listed(statistics.restarts),
        "clocks_apart_s": f"{statistics.clocks_apart:.1f}",
        "fps": f"{statistics.fps:.1f}",
        "latency_p50_ms": f"{statistics.latency_ms[0]:.1f}",
        "latency_p99_ms": f"{statistics.latency_ms[1]:.1f}",
        "stamp_to_publish_p50_ms": f"{statistics.age_ms[0]:.1f}",
        "stamp_to_publish_p99_ms": f"{statistics.age_ms[1]:.1f}",
        **{f"stage_{stage}_p50_ms": f"{p50:.2f}" for stage, (p50, _) in statistics.stages.items()},
        **{f"stage_{stage}_p99_ms": f"{p99:.2f}" for stage, (_, p99) in statistics.stages.items()},
        "busy_with_one_frame_s": f"{statistics.busy_for:.1f}",
        "seconds_since_frame": f"{statistics.silent_for:.1f}",
        "last_fault": statistics.last_fault,
        "qos_conflicts": "; ".join(health.qos_conflicts),
    }
    return DiagnosticStatus(
        level=level,
        name=status_name(node),
        message=message,
        hardware_id=f"{platform.node() or 'this machine'}, {health.facts.get('device', 'no device yet')}",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _judge(health: NodeHealth, statistics: Snapshot, limits: Limits) -> tuple[bytes, str]:
    if health.progress:
        return DiagnosticStatus.OK, health.progress
    if health.error:
        return DiagnosticStatus.ERROR, health.error
    if health.state != "active":
        return DiagnosticStatus.OK, health.state
    if statistics.busy_for > limits.watchdog:
        return DiagnosticStatus.ERROR, (
            f"the worker has been at one frame for {statistics.busy_for:.0f} s and gives no result: restart the node, "
            "and try another backend or model"
        )
    if statistics.silent_for > limits.silence_warning:
        return DiagnosticStatus.WARN, explain_silence(health, statistics)
    if statistics.recent_faults and not statistics.recent_results:
        return DiagnosticStatus.ERROR, f"no frame could be processed: {statistics.last_fault}"
    if statistics.recent_dropped[OLD] and not statistics.recent_results:
        return DiagnosticStatus.ERROR, (
            f"every frame was older than {limits.max_age:g} s when it came or when its result was there, and was "
            "dropped: look at the camera's delay and at the clocks, take a faster model, or raise max_age"
        )
    for remark in _remarks(health, statistics, limits):
        return DiagnosticStatus.WARN, remark
    return DiagnosticStatus.OK, f"{statistics.fps:.1f} frames/s"


def _remarks(health: NodeHealth, statistics: Snapshot, limits: Limits) -> Iterator[str]:
    """What is not as it should be though results come, gravest first."""
    window = f"of the last {WINDOW_SECONDS:.0f} s"
    if statistics.recent_faults:
        yield f"{statistics.recent_faults} frames {window} gave no result: {statistics.last_fault}"
    if health.publishers > 1:
        yield f"{health.publishers} publishers on {health.topic}: their frames mix; stop one or remap it"
    if health.rivals:
        yield f"another node publishes {', '.join(health.rivals)} too, and results mix; stop it or give it another name"
    yield from list(health.qos_conflicts)[-1:]
    if statistics.recent_restarts:
        yield f"ids started anew: {_listed(statistics.recent_restarts)}"
    yield from _late(statistics, limits, window)
    yield from list(health.hints)[-1:]
    if health.clock_stands:
        yield "use_sim_time is set and no /clock comes: play the bag with --clock, or set use_sim_time to false"
    elif statistics.clocks_apart:
        where = "behind" if statistics.clocks_apart > 0 else "ahead of"
        yield (
            f"stamps lie {abs(statistics.clocks_apart):.0f} s {where} this node's clock, so that the age of frames is "
            "not known: set the clocks, or play a bag with --clock and set use_sim_time"
        )


def _late(statistics: Snapshot, limits: Limits, window: str) -> Iterator[str]:
    stale, old, received = statistics.recent_dropped[STALE], statistics.recent_dropped[OLD], statistics.recent_received
    if received > _FEW and stale + old > limits.drop_warning * received:
        yield (
            f"{stale + old} of {received} frames {window} were dropped, {stale} because a newer one had come and {old} "
            "for their age: this machine is too busy, or too slow for camera and model; lower the camera's rate or "
            "take a smaller model"
        )
    sent = received + statistics.recent_lost
    if sent > _FEW and statistics.recent_lost > limits.loss_warning * sent:
        yield (
            f"{statistics.recent_lost} of {sent} frames {window} were lost in transport: set "
            f"{' and '.join(PROFILE_VARIABLES)} to rtseg's {PROFILE_NAME} for camera and node, and give shared memory "
            "(/dev/shm) room"
        )
    # One slow frame, as the first ones are, is no lasting latency.
    if statistics.recent_results > _FEW and statistics.latency_ms[1] > 1e3 * limits.latency_warning:
        yield (
            f"results come {statistics.latency_ms[1]:.0f} ms after their frames (99th percentile): this machine is too "
            "busy or too slow; take a smaller model or another device"
        )
    if not statistics.clocks_apart and statistics.age_ms[0] > 1e3 * limits.age_warning:
        yield (
            f"frames are {statistics.age_ms[0]:.0f} ms old when their result is published, of which "
            f"{statistics.latency_ms[0]:.0f} ms in this node: look at the camera's delay, the transport and the clocks"
        )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())


def explain_silence(health: NodeHealth, statistics: Snapshot) -> str:
    """Say why no frame comes, as far as the node can know, and what to do about it."""
    silence = f"no frame on {health.topic} for {statistics.silent_for:.0f} s"
    if health.foreign_types:
        return f"{silence}: it carries {', '.join(health.foreign_types)}; remap the image topic or set transport"
    if not health.publishers:
        return f"{silence}: nothing publishes it; start the camera or remap the topic"
    matched = f"{silence} though {health.publishers} publisher(s) matched"
    if statistics.received:
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
