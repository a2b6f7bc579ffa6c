"""What every rtseg node shares: lifecycle, the camera subscription, drops, faults and diagnostics."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image

from rtseg.errors import ImageError, RtsegError
from rtseg.frame import Frame
from rtseg.lanes import GroundPlane, Mounting
from rtseg.stream import FAILED, INVALID, OLD, STALE, STAMP, FrameLoop
from rtseg_ros import lifecycle, parameters, shared_memory
from rtseg_ros.camera_input import CameraInput, CameraMessage
from rtseg_ros.diagnostics import Limits, NodeHealth
from rtseg_ros.endpoints import Endpoints
from rtseg_ros.label_infos import LabelInfos
from rtseg_ros.loading import THREAD_NAME, Loading
from rtseg_ros.messages import nanoseconds, to_frame
from rtseg_ros.packets import Packet, Packets
from rtseg_ros.parameters import NodeParameters
from rtseg_ros.reports import Condition, Reports
from rtseg_ros.road_camera import RoadCamera
from rtseg_ros.statistics import StreamStatistics
from rtseg_ros.task import Task
from rtseg_ros.transport import profile_is_set

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline

ENDING_SECONDS = 5.0
CLOSING_SECONDS = 1.0
"""How long the worker may take to end its frame when the node is deactivated, and when the process ends."""


@dataclass(frozen=True)
class _Received:
    """A message, its frame where that is a view of it, and when it came by the monotonic clock."""

    message: CameraMessage
    frame: Frame | None
    at: float


class FrameNode(LifecycleNode):
    """A lifecycle node that runs pipelines on the newest frame of a camera topic.

    The executor's thread receives messages and answers services; a worker thread decodes them, runs the
    pipelines one after the other and publishes what each found as soon as it is there.

    Args:
        name: of the node.
        kind: its parameters.
        namespace: of the node; empty: as the command line says.

    Attributes:
        plane: the road in the frame that is worked on; None while its camera is unknown.
    """

    def __init__(self, name: str, kind: type[NodeParameters], namespace: str = "") -> None:
        # Before the command line's, which is that of all nodes of the process.
        super().__init__(name, cli_args=["--ros-args", "-r", f"__ns:={namespace}"] if namespace else None)
        lifecycle.answer_refused_transitions(self)
        parameters.declare(self, kind)
        self._kind = kind
        self.parameters: Any = kind()
        self.tasks: list[Task] = self.open_tasks()
        self.pipelines: list[Pipeline] = []
        self.statistics = StreamStatistics()
        self.hints: dict[str, str] = {}
        self.mounting: Mounting | None = None
        self.plane: GroundPlane | None = None
        self._state = "unconfigured"
        self._error = ""
        self._loop: FrameLoop[_Received | Packet] = FrameLoop()
        self._worker: threading.Thread | None = None
        self.endpoints = Endpoints(self)
        self._camera = CameraInput(self, self.endpoints, self._receive, self._lose)
        self._road = RoadCamera(self, self.endpoints, self.hints, lambda: self.parameters)
        self._packets = Packets()
        self._packet_lost = False
        self._inputs: list[Subscription] = []
        self._unread: set[str] = set()
        self._labels = LabelInfos(self, self.endpoints)
        # Steady timers: with use_sim_time and a stopped bag the node's own clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._following = self.create_timer(0.2, self._camera.follow, clock=steady)
        self._reports = Reports(self, steady, self._condition)
        self.loading = Loading(self.get_logger(), self._reports.publish)
        self.add_on_set_parameters_callback(self._judge_change)

    # What subclasses give.

    def open_tasks(self) -> list[Task]:
        """Say what is to be found in each frame, most urgent first."""
        raise NotImplementedError

    def publish_all(self, message: CameraMessage, frame: Frame, results: list[Any]) -> None:
        """Publish what follows from the results of all tasks together; called when all have succeeded."""

    def open_outputs(self) -> None:
        """Create publishers of the node's own with its `endpoints`; called when the node is configured."""

    # What tasks and subclasses use.

    @property
    def autostart(self) -> bool:
        """Whether the node is to come up active without a lifecycle manager."""
        return self.get_parameter("autostart").value is not False

    @property
    def exit_on_failure(self) -> bool:
        """Whether a node that cannot come up ends, instead of staying to be mended."""
        return self.get_parameter("exit_on_failure").value is True

    def publish_label_info(self, topic: str, names: dict[int, str], threshold: str) -> None:
        """Tell now, and whoever comes later, what the values of a mask mean (:meth:`LabelInfos.open`)."""
        self._labels.open(topic, names, threshold, self.parameters)

    # Transitions. None of them lets an exception out: rclpy would swallow its message.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load the model, warm it up, create the publishers."""
        try:
            self.parameters = parameters.read(self, self._kind)
            self._unread.clear()
            self._road.open()
            models = [(task.name, task.model_parameter) for task in self.tasks]
            self.pipelines = self.loading.load(models, self.parameters)
            self.hints["kernels"] = self.loading.unkept
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
            self._reports.reset()
            self._packets.reset()
            self._packet_lost = False
            self._worker = threading.Thread(
                target=self._work, args=(self._loop, self.statistics), name=THREAD_NAME, daemon=True
            )
            self._worker.start()
            for task in self.tasks:
                task.begin()
            self._inputs = self._road.open_inputs()
            self._camera.open(self.parameters.transport)
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
            self._labels.follow(judgment.live, self.parameters)
        for name in judgment.later:
            self.get_logger().warning(f"parameter {name} {parameters.LATER}: deactivate, clean up and configure it")
            self._unread.add(name)
        return judgment.answer

    # The path of a frame.

    def _receive(self, message: Any) -> None:
        received_at = self.statistics.receive()
        frame = None
        try:
            if isinstance(message, Image):  # costs nothing to look at; and the stamp of a broken one tells nothing
                frame = to_frame(message)
            elif not isinstance(message, CompressedImage):
                return self._receive_packet(Packet(message, received_at, self._packet_lost))
        except ImageError as error:
            self._loop.admit(None)
            return self._drop(INVALID, _sentence(error))
        return self._admit(_Received(message, frame, received_at))

    def _receive_packet(self, packet: Packet) -> None:
        given_up = self._loop.put_in_order(packet)
        self._packet_lost = given_up > 0
        for _ in range(given_up):
            self._loop.admit(None)
            self._drop(STALE, "the video's packets come faster than they are decoded; it goes on at the next key frame")

    def _admit(self, received: _Received) -> None:
        fault = self._loop.admit(nanoseconds(received.message.header.stamp), self._age(received.message))
        if fault:
            self._tell_drop(STAMP, fault)
        else:
            self._loop.put(received)

    def _work(self, loop: FrameLoop[_Received | Packet], statistics: StreamStatistics) -> None:
        while (received := loop.get()) is not None:
            statistics.begin()
            try:
                if isinstance(received, Packet):
                    self._decode(received, loop)
                else:
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

    def _decode(self, packet: Packet, loop: FrameLoop[_Received | Packet]) -> None:
        """Decode a packet, also where nobody will see its picture: of those that wait the newest is then worked on."""
        try:
            for sent, picture in self._packets.frames(packet, self.parameters.max_pixels):
                if not loop.closed:
                    self._admit(_Received(sent, picture, packet.at))
        except Exception:
            loop.admit(None)
            raise

    def _process(self, received: _Received, loop: FrameLoop[_Received | Packet]) -> None:
        message, received_at = received.message, received.at
        if self._is_old(message, received_at):
            return self._drop(OLD)
        frame = received.frame or to_frame(message, self.parameters.max_pixels)
        self.plane = self._road.plane(frame, any(task.wants_ground() for task in self.tasks))
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

    def _lose(self, count: int) -> None:
        self._packet_lost = True
        self.statistics.lose(count)

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

    def _stop(self, patience: float = ENDING_SECONDS) -> None:
        self._camera.close()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        self._loop.close()
        if self._worker is not None:
            self._worker.join(patience)
            if self._worker.is_alive():
                self.get_logger().error(f"the worker is still at a frame after {patience:.0f} s and is left alone")
        self._worker = None

    def _release(self) -> None:
        self.endpoints.close()
        self._labels.close()
        self.hints.clear()
        for pipeline in self.pipelines:
            pipeline.close()
        self.pipelines.clear()

    # What the diagnostics are written from.

    def _condition(self) -> Condition:
        limits = Limits(**{field.name: getattr(self.parameters, field.name) for field in fields(Limits)})
        mounting = self.mounting if self._state == "active" else None
        return Condition(self._health(), self.statistics.snapshot(), limits, mounting, self.pipelines)

    def _health(self) -> NodeHealth:
        publishers, foreign = self._camera.publishers()
        fast_dds = "fastrtps" in get_rmw_implementation_identifier()
        full = shared_memory.why_full() if fast_dds else ""
        return NodeHealth(
            state=self._state,
            error=self._error,
            progress=self.loading.progress,
            progress_for=self.loading.busy_for,
            topic=self._camera.topic,
            publishers=publishers,
            foreign_types=foreign,
            subscribed_topics=self.endpoints.subscribed_topics,
            qos_conflicts=self.endpoints.qos_conflicts,
            rivals=self.endpoints.rivals,
            clock_stands=self._clock_stands(),
            hints=[hint for hint in (*self.hints.values(), self._camera.fault, full) if hint],
            facts=self._facts(),
            profile_set=profile_is_set(os.environ),
            fast_dds=fast_dds,
        )

    def _clock_stands(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value) and self.get_clock().now().nanoseconds == 0

    def _facts(self) -> dict[str, str]:
        facts: dict[str, str] = {"parameters_not_in_effect": ", ".join(sorted(self._unread))}
        for task, pipeline in zip(self.tasks, list(self.pipelines), strict=False):
            facts[task.model_parameter] = pipeline.card.name
            facts.update(pipeline.backend)
        return facts


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
