"""The node's state in the words of /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from rtseg_ros.statistics import WINDOW_SECONDS, Snapshot
from rtseg_ros.transport import PROFILE_NAME, PROFILE_VARIABLES


@dataclass(frozen=True)
class NodeHealth:
    """What the diagnostics are written from.

    Attributes:
        state: lifecycle state by name.
        error: why the last transition failed, or empty.
        topic: the image topic subscribed to, or empty.
        publishers: how many publishers of that topic the node sees.
        foreign_types: message types on that topic which are not the node's.
        subscribed_topics: the node's own that somebody subscribes to; for the others nothing is computed.
        qos_conflicts: incompatible QoS met so far, one sentence each.
        hints: further things the user should know, one sentence each.
        facts: fixed key-value pairs (model, backend...).
        profile_set: whether a Fast DDS profile is named in the environment.
        fast_dds: whether the middleware is Fast DDS, to which the profile applies.
    """

    state: str
    error: str = ""
    topic: str = ""
    publishers: int = 0
    foreign_types: Sequence[str] = ()
    subscribed_topics: Sequence[str] = ()
    qos_conflicts: Sequence[str] = ()
    hints: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    profile_set: bool = False
    fast_dds: bool = True


def describe(name: str, health: NodeHealth, statistics: Snapshot, silence_warning: float) -> DiagnosticStatus:
    """Write the status: level, one sentence, and every figure."""
    level, message = _judge(health, statistics, silence_warning)
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
        "stamps_backwards": str(statistics.rewinds),
        "fps": f"{statistics.fps:.1f}",
        "latency_p50_ms": f"{statistics.latency_ms[0]:.1f}",
        "latency_p99_ms": f"{statistics.latency_ms[1]:.1f}",
        "stamp_to_publish_p50_ms": f"{statistics.age_ms[0]:.1f}",
        "stamp_to_publish_p99_ms": f"{statistics.age_ms[1]:.1f}",
        **{f"stage_{stage}_p50_ms": f"{p50:.2f}" for stage, (p50, _) in statistics.stages.items()},
        **{f"stage_{stage}_p99_ms": f"{p99:.2f}" for stage, (_, p99) in statistics.stages.items()},
        "seconds_since_frame": f"{statistics.silent_for:.1f}",
        "last_fault": statistics.last_fault,
        "qos_conflicts": "; ".join(health.qos_conflicts),
    }
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=health.facts.get("backend", ""),
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _judge(health: NodeHealth, statistics: Snapshot, silence_warning: float) -> tuple[bytes, str]:
    if health.error:
        return DiagnosticStatus.ERROR, health.error
    if health.state != "active":
        return DiagnosticStatus.OK, health.state
    if statistics.silent_for > silence_warning:
        return DiagnosticStatus.WARN, explain_silence(health, statistics)
    if statistics.recent_faults and not statistics.recent_results:
        return DiagnosticStatus.ERROR, f"no frame could be processed: {statistics.last_fault}"
    if statistics.recent_faults:
        share = f"{statistics.recent_faults} frames of the last {WINDOW_SECONDS:.0f} s gave no result"
        return DiagnosticStatus.WARN, f"{share}: {statistics.last_fault}"
    for remarks in (health.qos_conflicts, health.hints):
        if remarks:
            return DiagnosticStatus.WARN, remarks[-1]
    return DiagnosticStatus.OK, f"{statistics.fps:.1f} frames/s"


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
