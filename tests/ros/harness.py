"""The test's side of DDS: a peer of the node under test, and the node's process."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rtseg_ros.messages import nanoseconds, stamp_of, to_image
from sensor_msgs.msg import Image
from std_msgs.msg import Header

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
PATIENCE = 120.0
"""Seconds until a test gives up: a busy machine may take many times what an idle one does."""
ANSWERING = 5.0
LOST = 20.0
"""Seconds without an effect after which a frame is taken for lost, as best effort allows, and sent again."""


def qos(depth: int = 50, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class Process:
    """A process whose output is kept, and which never outlives the test."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.child = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.child.send_signal(number)
        return self.child.wait(timeout=PATIENCE)

    def private_bytes(self) -> int:
        """Resident memory that is shared with no other process, as frames under way are."""
        _, resident, shared, *_ = map(int, Path(f"/proc/{self.child.pid}/statm").read_text().split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        """See to it that it is over, in good order if it can: who is killed leaves his shared memory behind."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Peer:
    """A node beside the one under test: publishes frames, collects what comes back."""

    def __init__(self, namespace: str, process: Process, name: str = "lanes") -> None:
        self.process = process
        self.name = name
        self.node = Node("peer", namespace=namespace)
        self.namespace = namespace
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.received: dict[str, list[Any]] = {}
        self.health: dict[str, Any] = {}
        self._health_since = 0
        self._listened_to: set[str] = set()
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, 10)
        self.images = self.node.create_publisher(Image, "image", qos(10))
        self._clients = {
            kind: self.node.create_client(kind, f"{self.name}/{service}")
            for kind, service in (
                (ChangeState, "change_state"),
                (GetState, "get_state"),
                (SetParameters, "set_parameters"),
                (GetParameters, "get_parameters"),
                (DescribeParameters, "describe_parameters"),
            )
        }

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()

    def listen(self, message_type: type, topic: str, profile: QoSProfile | None = None) -> list[Any]:
        """Subscribe to a topic of the node (/name/topic: of that name); gives the list that messages are put into."""
        messages = self.received.setdefault(topic, [])
        name = topic.removeprefix("/") if topic.startswith("/") else f"{self.name}/{topic}"
        self.node.create_subscription(message_type, name, messages.append, profile or qos())
        self._listened_to.add(self.node.resolve_topic_name(name))
        return messages

    def spin_until(self, done: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Handle messages until `done` gives something true, and give that; fail when it takes too long."""
        end = time.monotonic() + seconds
        while not (value := done()):
            assert self.process.child.poll() is None, f"the node has ended:\n{self.process.output()}"
            assert time.monotonic() < end, f"{what} after {seconds} s; health {self.health}:\n{self.process.output()}"
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def insist(
        self, act: Callable[[], object], done: Callable[[], Any], every: float, what: str, seconds: float = PATIENCE
    ) -> Any:
        """Act, and act again every so many seconds, until `done` gives something true."""
        acted = -math.inf

        def step() -> Any:
            nonlocal acted
            if time.monotonic() - acted >= every:
                act()
                acted = time.monotonic()
            return done()

        return self.spin_until(step, what, seconds)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def _call(self, kind: Any, request: Any, every: float = ANSWERING) -> Any:
        """Ask until an answer comes.

        A server gives up an answer when it has not discovered the reader of answers in time, which happens on a busy
        machine although the client sees the service as ready; DDS promises no more, so a client has to ask again.
        """
        client = self._clients[kind]
        self.spin_until(client.service_is_ready, "no service")
        answers: list[Any] = []
        return self.insist(
            lambda: answers.append(client.call_async(request)),
            lambda: next((answer for answer in answers if answer.done()), None),
            every,
            "no answer",
        ).result()

    def change_state(self, transition: str) -> bool:
        """Ask for a transition; whether it was made."""
        # A transition is not to be asked for twice. Discovery comes in the order of creation: a server that could
        # answer the later client knows the earlier one.
        self.state()
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return self._call(ChangeState, request, every=math.inf).success

    def try_parameter(self, name: str, value: object) -> Any:
        """Set a parameter; gives the SetParametersResult."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self._call(SetParameters, request).results[0]

    def set_parameter(self, name: str, value: object) -> None:
        result = self.try_parameter(name, value)
        assert result.successful, result.reason

    def describe_parameters(self, *names: str) -> list[Any]:
        """ParameterDescriptor messages, one a name."""
        return list(self._call(DescribeParameters, DescribeParameters.Request(names=list(names))).descriptors)

    def get_parameters(self, *names: str) -> list[Any]:
        """ParameterValue messages, one a name."""
        return list(self._call(GetParameters, GetParameters.Request(names=list(names))).values)

    def state(self) -> str:
        return self._call(GetState, GetState.Request()).current_state.label

    def wait_for_state(self, label: str) -> None:
        self.spin_until(lambda: self.state() == label, f"state is not {label}")

    def wait_until_listening(self, publisher: Publisher | None = None) -> None:
        """Wait until the node is active, takes what `publisher` sends (`images` unless another is given), and knows who
        listens to it.

        Each side discovers the other for itself: a publisher that has found the node's subscription may not have been
        found by it, and then its messages are lost. So the node is asked too.
        """
        source = publisher or self.images
        self.wait_for_state("active")
        self.spin_until(source.get_subscription_count, "the node does not listen")
        self.wait_for_health(
            lambda h: (
                (h["state"], h["topic"]) == ("active", source.topic_name)
                and int(h["publishers"]) > 0
                and self._listened_to <= set(h["subscribed_topics"].split(", "))
            ),
            "the node does not see publisher and subscribers",
        )

    def wait_for_health(self, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait for diagnostics that fulfil a condition; those written before this call do not count."""
        self.health, self._health_since = {}, time.time_ns()
        return self.spin_until(lambda: self.health if self.health and condition(self.health) else None, what)

    def health_now(self) -> str:
        """The latest status's message; empty before the first."""
        return str(self.health.get("message", ""))

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        if nanoseconds(message.header.stamp) < self._health_since:
            return
        for status in message.status:
            if status.name == f"{self.namespace.lstrip('/')}/{self.name}: camera to masks":
                values = {entry.key: entry.value for entry in status.values}
                self.health = {"level": status.level[0], "message": status.message, **values}

    def publish(self, image: np.ndarray, stamp: int, encoding: str = "bgr8") -> None:
        self.images.publish(to_image(image, encoding, header(stamp)))

    def exchange(self, image: np.ndarray, stamp: int, masks: list[Any], encoding: str = "bgr8") -> Image:
        """Publish one frame and wait for the mask with its stamp; a frame that was lost on its way is sent again."""
        return self.insist(
            lambda: self.publish(image, stamp, encoding),
            lambda: self.with_stamp(stamp, masks),
            LOST,
            f"no mask for {stamp}",
        )

    def with_stamp(self, stamp: int, messages: list[Any]) -> Any:
        """The first message of a stamp, None while there is none."""
        wanted = stamp_of(stamp)
        return next((message for message in messages if message.header.stamp == wanted), None)


def header(stamp: int, frame_id: str = "camera") -> Header:
    return Header(stamp=stamp_of(stamp), frame_id=frame_id)


def mask_of(message: Image) -> np.ndarray:
    """The (H, W) pixels of a mono8 mask."""
    assert message.encoding == "mono8"
    assert message.step == message.width
    return np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.width)
