"""What a node tells of itself: /diagnostics each second, and the log when something begins or ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.lifecycle import LifecycleNode

from rtseg.lanes import Mounting
from rtseg_ros.diagnostics import Limits, NodeHealth, describe, describe_mounting, explain_silence
from rtseg_ros.statistics import Snapshot

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline

REPORT_SECONDS = 1.0
"""Between reports, as is usual for /diagnostics."""
LOOK_SECONDS = 0.25
"""Between looks at what there is to report; another level is told at once."""


@dataclass(frozen=True)
class Condition:
    """What there is to tell of a node.

    Attributes:
        health: how it is.
        figures: of its frames.
        limits: what is called too much.
        mounting: what the road says of the camera's, None where it says nothing.
        pipelines: that run.
    """

    health: NodeHealth
    figures: Snapshot
    limits: Limits
    mounting: Mounting | None
    pipelines: Sequence[Pipeline]

    @property
    def silent(self) -> bool:
        """Whether frames should come, and none does."""
        return self.health.state == "active" and self.figures.silent_for > self.limits.silence_warning


class Reports:
    """Tells a node's condition.

    Args:
        node: to publish with.
        clock: of the looks.
        condition: gives what there is to tell.
    """

    def __init__(self, node: LifecycleNode, clock: Clock, condition: Callable[[], Condition]) -> None:
        self._node = node
        self._condition = condition
        self._was_silent = False
        self._fallbacks_told: dict[Pipeline, int] = {}
        self._reported_at = 0.0
        self._reported_level = b""
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(LOOK_SECONDS, partial(self.publish, at_once=False), clock=clock)

    def reset(self) -> None:
        """Begin anew, as with another stream."""
        self._was_silent = False

    def publish(self, at_once: bool = True) -> None:
        """Report, at once or when it is time: each second, and where the level has changed."""
        stamp = self._node.get_clock().now().to_msg()  # what is told is no older than this
        statuses = self.statuses()
        level = statuses[0].level
        if at_once or level != self._reported_level or time.monotonic() - self._reported_at >= REPORT_SECONDS:
            self._reported_at, self._reported_level = time.monotonic(), level
            report = DiagnosticArray(status=statuses)
            report.header.stamp = stamp
            self._publisher.publish(report)

    def statuses(self) -> list[DiagnosticStatus]:
        """From camera to masks first, then the camera's mounting where there is something to tell of it."""
        condition, name = self._condition(), self._node.get_fully_qualified_name()
        self._log(condition)
        told = [describe(name, condition.health, condition.figures, condition.limits)]
        if condition.mounting is not None:
            told.append(describe_mounting(name, condition.mounting))
        return told

    def _log(self, condition: Condition) -> None:
        logger = self._node.get_logger()
        if condition.silent and not self._was_silent:
            logger.warning(explain_silence(condition.health, condition.figures))
        elif self._was_silent and not condition.silent and condition.health.state == "active":
            logger.info("frames come again")
        self._was_silent = condition.silent
        for pipeline in condition.pipelines:
            for reason in pipeline.fallbacks[self._fallbacks_told.get(pipeline, 0) :]:
                logger.warning(f"fell back to {pipeline.backend['backend']}: {reason}")
        self._fallbacks_told = {pipeline: len(pipeline.fallbacks) for pipeline in condition.pipelines}
