"""What rclpy's lifecycle node leaves to be done: starting without a manager, refused transitions, an orderly end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from rtseg_ros.loading import Stopped

SPIN_SECONDS = 0.2
PATIENCE = 4.0
"""Seconds from a signal until the process ends whatever it is at; ``ros2 launch`` sends the next one after 5."""


def answer_refused_transitions(node: LifecycleNode) -> None:
    """Let the change_state service answer a transition that the present state does not allow with success=False.

    Without this rclpy raises inside the executor: the caller waits forever and the node's process ends.
    """
    service = getattr(node, "_service_change_state", None)
    if service is None:
        return
    change_state = service.callback

    def answer(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except Exception as error:
            node.get_logger().warning(f"refused transition {request.transition.id}: {error}")
            response.success = False
            return response

    service.callback = answer


def destroy(node: LifecycleNode) -> None:
    """Destroy a node and its state machine, which rclpy leaves for later, and with it DDS' shared memory."""
    node.destroy_node()
    state_machine = getattr(node, "_state_machine", None)
    if state_machine is not None:
        state_machine.destroy_when_not_in_use()


def start(node: LifecycleNode) -> bool:
    """Configure and activate the node; returns whether it is active now. A node that fails stays to be mended."""
    return (
        node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        and node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    )


class _Ending:
    """What signals do: ask for the end, and end the process where that is not heard in time or is asked for twice."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGINT, self._hear)
        signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            _leave(0)
        self.asked = True
        last_resort = threading.Timer(PATIENCE, _leave, args=(0,))
        last_resort.daemon = True
        last_resort.start()

    def check(self) -> None:
        """Raise Stopped if the end was asked for."""
        if self.asked:
            raise Stopped


def _leave(code: int) -> None:
    """End the process whatever its threads are at."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(make_node: Callable[[], Any], arguments: Sequence[str] | None = None) -> int:
    """Run one node until SIGINT or SIGTERM, which end the process with code 0; returns the exit code of a failure.

    Args:
        make_node: makes the node, which has `autostart` (whether to configure and activate at once), `exit_on_failure`
            (whether to end where that fails), `loading` (whose `check_for_end` is set here) and `close()`.
        arguments: command line with ROS arguments, by default that of the process.
    """
    # The node's own handlers: rclpy's would shut the context down first, and nothing could be said or undone any more.
    rclpy.init(args=sys.argv if arguments is None else list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    ending = _Ending()
    executor = SingleThreadedExecutor()
    node = make_node()
    node.loading.check_for_end = ending.check
    try:
        executor.add_node(node)
        if node.autostart and not start(node) and node.exit_on_failure:
            return 1
        while not ending.asked and rclpy.ok():
            try:
                executor.spin_once(timeout_sec=SPIN_SECONDS)
            except ExternalShutdownException:
                break
            except Exception as error:
                # One callback's fault (a service call that cannot be answered, say) does not end the stream.
                node.get_logger().error(f"{type(error).__name__} in a callback: {error}")
    except Stopped:
        node.get_logger().info("ended while loading")
    finally:
        node.close()
        executor.remove_node(node)
        destroy(node)
        rclpy.try_shutdown()
    # All is in order now. The interpreter would take its time to take itself apart, and wait for a compiler or a
    # network that does not return, or crash with it.
    _leave(0)
    return 0
