"""The test's side of DDS: a peer of the node under test, and the node's process."""

from __future__ import annotations

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
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rtseg_ros.messages import stamp_of, to_image
from sensor_msgs.msg import Image
from std_msgs.msg import Header

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
STARTING = 90.0
ANSWERING = 3.0
PROMPT = 20.0


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
        return self.child.wait(timeout=PROMPT)

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * 4096

    def kill(self) -> None:
        if self.child.poll() is None:
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
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, 10)
        self.images = self.node.create_publisher(Image, "image", qos(10))
        self._clients = {
            kind: self.node.create_client(kind, f"{self.name}/{service}")
            for kind, service in (
                (ChangeState, "change_state"),
                (GetState, "get_state"),
                (SetParameters, "set_parameters"),
                (GetParameters, "get_parameters"),
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
        return messages

    def spin_until(self, done: Callable[[], Any], seconds: float = PROMPT, what: str = "") -> Any:
        """Handle messages until `done` gives something true, and give that; fail when it takes too long."""
        end = time.monotonic() + seconds
        while not (value := done()):
            assert self.process.child.poll() is None, f"the node has ended:\n{self.process.output()}"
            assert time.monotonic() < end, f"{what or 'nothing'} after {seconds} s:\n{self.process.output()}"
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def _call(self, kind: Any, request: Any) -> Any:
        """Ask until an answer comes.

        A server gives up an answer when it has not discovered the reader of answers in time, which happens on a busy
        machine although the client sees the service as ready; DDS promises no more, so a client has to ask again.
        """
        client = self._clients[kind]
        self.spin_until(client.service_is_ready, STARTING, "no service")
        end = time.monotonic() + STARTING
        answers = []
        while time.monotonic() < end:
            answers.append(client.call_async(request))
            patience = time.monotonic() + ANSWERING
            while time.monotonic() < patience:
                self.spin_for(0.05)
                for answer in answers:
                    if answer.done():
                        return answer.result()
            assert self.process.child.poll() is None, f"the node has ended:\n{self.process.output()}"
        raise AssertionError(f"no answer after {STARTING} s:\n{self.process.output()}")

    def change_state(self, transition: str) -> bool:
        """Ask for a transition; whether it was made."""
        # A transition is not to be asked for twice. Discovery comes in the order of creation: a server that could
        # answer the later client knows the earlier one.
        self.state()
        return self._call(ChangeState, ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))).success

    def set_parameter(self, name: str, value: object) -> None:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        assert self._call(SetParameters, request).results[0].successful

    def get_parameters(self, *names: str) -> list[Any]:
        """ParameterValue messages, one a name."""
        return list(self._call(GetParameters, GetParameters.Request(names=list(names))).values)

    def state(self) -> str:
        return self._call(GetState, GetState.Request()).current_state.label

    def wait_for_state(self, label: str) -> None:
        self.spin_until(lambda: self.state() == label, STARTING, f"state is not {label}")

    def wait_until_listening(self) -> None:
        """Wait until the node is active and its subscriptions and ours are matched."""
        self.wait_for_state("active")
        self.spin_until(self.images.get_subscription_count, what="the node does not listen")
        self.spin_for(0.3)

    def wait_for_health(self, condition: Callable[[dict[str, Any]], bool], what: str, seconds: float = PROMPT) -> dict:
        return self.spin_until(lambda: self.health if self.health and condition(self.health) else None, seconds, what)

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self.name}: camera to masks":
                values = {entry.key: entry.value for entry in status.values}
                if values.get("topic", "").startswith(self.namespace + "/"):
                    self.health = {"level": status.level[0], "message": status.message, **values}

    def publish(self, image: np.ndarray, stamp: int, encoding: str = "bgr8") -> None:
        self.images.publish(to_image(image, encoding, header(stamp)))

    def exchange(self, image: np.ndarray, stamp: int, masks: list[Any], encoding: str = "bgr8") -> Image:
        """Publish one frame and wait for the mask with its stamp."""
        self.publish(image, stamp, encoding)
        wanted = stamp_of(stamp)
        return self.spin_until(
            lambda: next((mask for mask in masks if mask.header.stamp == wanted), None), what=f"no mask for {stamp}"
        )


def header(stamp: int, frame_id: str = "camera") -> Header:
    return Header(stamp=stamp_of(stamp), frame_id=frame_id)


def mask_of(message: Image) -> np.ndarray:
    """The (H, W) pixels of a mono8 mask."""
    assert message.encoding == "mono8"
    assert message.step == message.width
    return np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.width)
