"""What every rtseg node shares: lifecycle, the camera subscription, drops, faults and diagnostics."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeAlias

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.subscription import Subscription
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from rtseg.errors import ImageError, RtsegError
from rtseg.frame import Frame
from rtseg.runtime import Pipeline
from rtseg.stream import FAILED, INVALID, OLD, STAMP, FrameLoop
from rtseg_ros import lifecycle, parameters
from rtseg_ros.diagnostics import LOOK_SECONDS, REPORT_SECONDS, Limits, NodeHealth, describe, explain_silence
from rtseg_ros.loading import THREAD_NAME, Loading
from rtseg_ros.messages import LABEL_INFO_TYPE, nanoseconds, to_frame, to_label_info
from rtseg_ros.parameters import NodeParameters
from rtseg_ros.statistics import StreamStatistics
from rtseg_ros.topics import camera_topic
from rtseg_ros.transport import profile_is_set

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

CAMERA_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
# Reliable writers serve best-effort readers too; with a depth of 1 a slow reader gets the newest result, not a queue.
RESULT_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
ENDING_SECONDS = 5.0
CLOSING_SECONDS = 1.0
"""How long the worker may take to end its frame when the node is deactivated, and when the process ends."""

IMAGE_TYPES = {"raw": Image, "compressed": CompressedImage}

CameraMessage: TypeAlias = "Image | CompressedImage"


@dataclass(frozen=True)
class _Received:
    """A message, its frame where that is a view of it, and when it came by the monotonic clock."""

    message: CameraMessage
    frame: Frame | None
    at: float


class Task(Protocol):
    """What is found in a frame, and how it is published.

    Attributes:
        name: of the task, as on models' cards.
        model_parameter: which of the node's parameters names the model.
    """

    name: str
    model_parameter: str

    def open(self, pipeline: Pipeline) -> None:
        """Create the publishers with `FrameNode.open_output`; called when the node is configured."""
        ...

    def open_inputs(self) -> list[Subscription]:
        """Create further subscriptions; called when the node is activated."""
        ...

    def publish(self, message: CameraMessage, frame: Frame, result: Any) -> None:
        """Publish one frame's result, computing nothing for a topic without subscribers."""
        ...


class FrameNode(LifecycleNode):
    """A lifecycle node that runs pipelines on the newest frame of a camera topic.

    The executor's thread receives messages and answers services; a worker thread makes frames of them, runs the
    pipelines one after the other and publishes what each found as soon as it is there.

    Args:
        name: of the node.
        kind: its parameters.
    """

    def __init__(self, name: str, kind: type[NodeParameters]) -> None:
        super().__init__(name)
        lifecycle.answer_refused_transitions(self)
        parameters.declare(self, kind)
        self._kind = kind
        self.parameters: Any = kind()
        self.tasks: list[Task] = self.open_tasks()
        self.pipelines: list[Pipeline] = []
        self.statistics = StreamStatistics()
        self.hints: dict[str, str] = {}
        self.loading = Loading(self.get_logger(), self._report)
        self._state = "unconfigured"
        self._error = ""
        self._qos_conflicts: dict[str, str] = {}
        self._loop: FrameLoop[_Received] = FrameLoop()
        self._worker: threading.Thread | None = None
        self._camera: Subscription | None = None
        self._inputs: list[Subscription] = []
        self._transport = "raw"
        self._outputs: list[Publisher] = []
        self._unread: set[str] = set()
        self._labels: list[tuple[Publisher, dict[int, str], str]] = []
        self._was_silent = False
        self._reported_at = 0.0
        self._reported_level = b""
        self._fallbacks_told: dict[str, int] = {}
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady timers: with use_sim_time and a stopped bag the node's own clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers_kept = [
            self.create_timer(LOOK_SECONDS, self._look, clock=steady),
            self.create_timer(0.2, self._follow_transport, clock=steady),
        ]
        self.add_on_set_parameters_callback(self._judge_change)

    # What subclasses give.

    def open_tasks(self) -> list[Task]:
        """Say what is to be found in each frame, most urgent first."""
        raise NotImplementedError

    def publish_all(self, message: CameraMessage, frame: Frame, results: list[Any]) -> None:
        """Publish what follows from the results of all tasks together; called when all have succeeded."""

    def open_outputs(self) -> None:
        """Create publishers of the node's own with `open_output`; called when the node is configured."""

    # What tasks and subclasses use.

    @property
    def autostart(self) -> bool:
        """Whether the node is to come up active without a lifecycle manager."""
        return self.get_parameter("autostart").value is not False

    @property
    def exit_on_failure(self) -> bool:
        """Whether a node that cannot come up ends, instead of staying to be mended."""
        return self.get_parameter("exit_on_failure").value is True

    def open_output(self, message_type: type, topic: str, qos: QoSProfile = RESULT_QOS) -> Publisher:
        """Create a publisher that lives until the node is cleaned up, and whose QoS conflicts are told."""
        resolved = self.resolve_topic_name(topic)
        events = PublisherEventCallbacks(
            incompatible_qos=lambda event: self._note_conflict(resolved, "a subscriber", event)
        )
        publisher = self.create_publisher(message_type, topic, qos, event_callbacks=events)
        self._outputs.append(publisher)
        return publisher

    def publish_label_info(self, topic: str, names: dict[int, str], threshold: str) -> None:
        """Tell now, and whoever comes later, what the values of a mask mean.

        Args:
            topic: to tell it on.
            names: of the values.
            threshold: name of the parameter under which nothing is shown.
        """
        self._labels.append((self.open_output(LABEL_INFO_TYPE, topic, LATCHED_QOS), names, threshold))
        self._publish_labels(self._labels[-1:])

    def _publish_labels(self, labels: list[tuple[Publisher, dict[int, str], str]]) -> None:
        header = Header(stamp=self.get_clock().now().to_msg())
        for publisher, names, threshold in labels:
            publisher.publish(to_label_info(names, getattr(self.parameters, threshold), header))

    def open_input(self, message_type: type, topic: str, callback: Any, qos: QoSProfile = CAMERA_QOS) -> Subscription:
        """Create a subscription whose losses and QoS conflicts are told."""
        resolved = self.resolve_topic_name(topic)
        callbacks: dict[str, Any] = {
            "incompatible_qos": lambda event: self._note_conflict(resolved, "a publisher", event)
        }
        if callback == self._receive:
            callbacks["message_lost"] = lambda event: self.statistics.lose(event.total_count_change)
        try:
            events = SubscriptionEventCallbacks(**callbacks)
            return self.create_subscription(message_type, topic, callback, qos, event_callbacks=events)
        except Exception:
            # A middleware without the message-lost event refuses the subscription as a whole.
            callbacks.pop("message_lost", None)
            events = SubscriptionEventCallbacks(**callbacks)
            return self.create_subscription(message_type, topic, callback, qos, event_callbacks=events)

    # Transitions. None of them lets an exception out: rclpy would swallow its message.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load the model, warm it up, create the publishers."""
        try:
            self.parameters = parameters.read(self, self._kind)
            self._unread.clear()
            models = [(task.name, task.model_parameter) for task in self.tasks]
            self.pipelines = self.loading.load(models, self.parameters)
            for task, pipeline in zip(self.tasks, self.pipelines, strict=True):
                task.open(pipeline)
            self.open_outputs()
        except Exception as error:
            self._error = f"cannot be configured: {_sentence(error)}"
            self.get_logger().error(self._error)
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._error = ""
        self._state = "inactive"
        for pipeline in self.pipelines:
            self.get_logger().info(f"{pipeline.card.name} is ready on {pipeline.backend['backend']}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        try:
            for pipeline in self.pipelines:
                pipeline.reset()
            self._loop = FrameLoop(self.parameters.max_age)
            self.statistics = StreamStatistics(self._loop)
            self._was_silent = False
            self._worker = threading.Thread(
                target=self._work, args=(self._loop, self.statistics), name=THREAD_NAME, daemon=True
            )
            self._worker.start()
            self._inputs = [subscription for task in self.tasks for subscription in task.open_inputs()]
            transport = self.parameters.transport
            self._subscribe("raw" if transport == "auto" else transport)
        except Exception as error:
            self._error = f"cannot be activated: {_sentence(error)}"
            self.get_logger().error(self._error)
            self._stop()
            return TransitionCallbackReturn.FAILURE
        self._error = ""
        self._state = "active"
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the worker finish its frame."""
        self._stop()
        self._state = "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model and the publishers back."""
        self._stop()
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back, from any state."""
        self._stop()
        self._release()
        self._state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back, so that the node can be configured again."""
        self._stop()
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End in good order, and soon, before the node is destroyed."""
        self._stop(CLOSING_SECONDS)
        self._release()

    # Parameters.

    def _judge_change(self, changed: list[Parameter]) -> SetParametersResult:
        """Refuse what cannot be, and let take effect at once what can; the rest is read when the node is configured."""
        judgment = parameters.judge(self._kind, changed)
        if self._state not in ("inactive", "active"):
            return judgment.answer
        if judgment.live:
            self.parameters = replace(self.parameters, **judgment.live)  # as a whole: the worker may be reading it
            self._loop.max_age = self.parameters.max_age
            self._publish_labels([each for each in self._labels if each[2] in judgment.live])
        for name in judgment.later:
            self.get_logger().warning(f"parameter {name} {parameters.LATER}: deactivate, clean up and configure it")
            self._unread.add(name)
        return judgment.answer

    # The path of a frame.

    def _receive(self, message: CameraMessage) -> None:
        received_at = self.statistics.receive()
        frame = None
        if isinstance(message, Image):  # which costs nothing to look at; and the stamp of a broken one tells nothing
            try:
                frame = to_frame(message)
            except ImageError as error:
                self._loop.admit(None)
                self._drop(INVALID, _sentence(error))
                return
        fault = self._loop.admit(nanoseconds(message.header.stamp), self._age(message))
        if fault:
            self._tell_drop(STAMP, fault)
        else:
            self._loop.put(_Received(message, frame, received_at))

    def _work(self, loop: FrameLoop[_Received], statistics: StreamStatistics) -> None:
        while (received := loop.get()) is not None:
            statistics.begin()
            try:
                self._process(received, loop)
            except Exception as error:
                if loop.closed or not rclpy.ok():  # left alone long ago; what it worked with is gone
                    return
                # Bad pictures are found now, or later, when a raw one is first converted.
                reason = INVALID if isinstance(error, ImageError) else FAILED
                name = "" if isinstance(error, RtsegError) else f"{type(error).__name__}: "
                self._drop(reason, f"{name}{_sentence(error)}")
            finally:
                statistics.end()
            del received

    def _process(self, received: _Received, loop: FrameLoop[_Received]) -> None:
        message, received_at = received.message, received.at
        if self._is_old(message, received_at):
            return self._drop(OLD)
        frame = received.frame or to_frame(message, self.parameters.max_pixels)
        results: list[Any] = []
        times: dict[str, float] = {}
        fault: Exception | None = None
        for task, pipeline in zip(self.tasks, self.pipelines, strict=True):
            try:
                result = pipeline(frame)
                if loop.closed:
                    return None
                if self._is_old(message, received_at):
                    return self._drop(OLD)
                task.publish(message, frame, result)
            except Exception as error:  # what one task cannot do does not keep the others from it
                fault = fault or error
                continue
            results.append(result)
            prefix = f"{task.name}_" if len(self.tasks) > 1 else ""
            times.update({f"{prefix}{stage}": spent for stage, spent in result.times.items()})
        if fault is not None:
            raise fault
        self.publish_all(message, frame, results)
        for reason in self._loop.finish(results):
            self.get_logger().warning(f"ids start anew: {reason}", throttle_duration_sec=5.0)
        self.statistics.publish(received_at, self._age(message), times)

    def _age(self, message: CameraMessage) -> float:
        """Seconds since the message's stamp by the node's clock."""
        return (self.get_clock().now().nanoseconds - nanoseconds(message.header.stamp)) / 1e9

    def _is_old(self, message: CameraMessage, received_at: float) -> bool:
        return self._loop.is_old(time.monotonic() - received_at, self._age(message))

    def _drop(self, reason: str, fault: str = "") -> None:
        self._loop.drop(reason, fault)
        self._tell_drop(reason, fault or f"it was older than {self._loop.max_age:g} s")

    def _tell_drop(self, reason: str, fault: str) -> None:
        self.get_logger().warning(f"frame dropped ({reason}): {fault}", throttle_duration_sec=5.0)

    # Inputs.

    def _subscribe(self, transport: str) -> None:
        if self._camera is not None:
            self.destroy_subscription(self._camera)
        self._transport = transport
        self._camera = self.open_input(IMAGE_TYPES[transport], camera_topic(self, transport), self._receive)

    def _follow_transport(self) -> None:
        """With transport auto: move to the topic that is published, if the present one is not."""
        if self._state != "active" or self.parameters.transport != "auto":
            return
        other = "compressed" if self._transport == "raw" else "raw"
        if not self._matched_publishers(self._transport)[0] and self._matched_publishers(other)[0]:
            self.get_logger().info(f"listening to {camera_topic(self, other)}")
            self._subscribe(other)

    def _matched_publishers(self, transport: str) -> tuple[int, list[str]]:
        """How many publishers the topic of a transport has, and what other types are on it."""
        wanted = f"sensor_msgs/msg/{IMAGE_TYPES[transport].__name__}"
        types = [info.topic_type for info in self.get_publishers_info_by_topic(camera_topic(self, transport))]
        return types.count(wanted), sorted({found for found in types if found != wanted})

    def _stop(self, patience: float = ENDING_SECONDS) -> None:
        for subscription in (self._camera, *self._inputs):
            if subscription is not None:
                self.destroy_subscription(subscription)
        self._camera, self._inputs = None, []
        self._loop.close()
        if self._worker is not None:
            self._worker.join(patience)
            if self._worker.is_alive():
                self.get_logger().error(f"the worker is still at a frame after {patience:.0f} s and is left alone")
        self._worker = None

    def _release(self) -> None:
        for publisher in self._outputs:
            self.destroy_publisher(publisher)
        self._outputs.clear()
        self._labels.clear()
        self._qos_conflicts.clear()
        self.hints.clear()
        self._fallbacks_told.clear()
        for pipeline in self.pipelines:
            pipeline.close()
        self.pipelines.clear()

    # Diagnostics.

    def _note_conflict(self, topic: str, who: str, event: Any) -> None:
        name = qos_policy_name_from_kind(event.last_policy_kind)
        sentence = f"{who} of {topic} asks for or offers an incompatible {name}: no message passes between them"
        if self._qos_conflicts.get(topic) != sentence:
            self._qos_conflicts[topic] = sentence
            self.get_logger().warning(sentence)

    def _health(self) -> NodeHealth:
        publishers, foreign = self._matched_publishers(self._transport) if self._state == "active" else (0, [])
        return NodeHealth(
            state=self._state,
            error=self._error,
            progress=self.loading.progress,
            topic=camera_topic(self, self._transport),
            publishers=publishers,
            foreign_types=foreign,
            subscribed_topics=[each.topic_name for each in self._outputs if each.get_subscription_count()],
            qos_conflicts=list(self._qos_conflicts.values()),
            rivals=[each.topic_name for each in self._outputs if self.count_publishers(each.topic_name) > 1],
            clock_stands=self._clock_stands(),
            hints=list(self.hints.values()),
            facts=self._facts(),
            profile_set=profile_is_set(os.environ),
            fast_dds="fastrtps" in get_rmw_implementation_identifier(),
        )

    def _clock_stands(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value) and self.get_clock().now().nanoseconds == 0

    def _facts(self) -> dict[str, str]:
        facts: dict[str, str] = {"parameters_not_in_effect": ", ".join(sorted(self._unread))}
        for task, pipeline in zip(self.tasks, list(self.pipelines), strict=False):
            facts[task.model_parameter] = pipeline.card.name
            facts.update(pipeline.backend)
        return facts

    def _look(self) -> None:
        """Report when it is time, or at once where the level has changed."""
        status = self._status()
        if status.level != self._reported_level or time.monotonic() - self._reported_at >= REPORT_SECONDS:
            self._report(status)

    def _report(self, status: DiagnosticStatus | None = None) -> None:
        report = DiagnosticArray()
        report.header.stamp = self.get_clock().now().to_msg()  # what is told is no older than this
        report.status = [status or self._status()]
        self._reported_at, self._reported_level = time.monotonic(), report.status[0].level
        self._diagnostics.publish(report)

    def _status(self) -> DiagnosticStatus:
        health, figures = self._health(), self.statistics.snapshot()
        silent = self._state == "active" and figures.silent_for > self.parameters.silence_warning
        if silent and not self._was_silent:
            self.get_logger().warning(explain_silence(health, figures))
        elif self._was_silent and not silent and self._state == "active":
            self.get_logger().info("frames come again")
        self._was_silent = silent
        for pipeline in self.pipelines:
            for reason in pipeline.fallbacks[self._fallbacks_told.get(pipeline.card.name, 0) :]:
                self.get_logger().warning(f"fell back to {pipeline.backend['backend']}: {reason}")
            self._fallbacks_told[pipeline.card.name] = len(pipeline.fallbacks)
        limits = Limits(**{field.name: getattr(self.parameters, field.name) for field in fields(Limits)})
        return describe(self.get_fully_qualified_name(), health, figures, limits)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
