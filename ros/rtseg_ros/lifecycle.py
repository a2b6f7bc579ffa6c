"""What rclpy's lifecycle node leaves to be done: starting without a manager, refused transitions, an orderly end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

SPIN_SECONDS = 0.2


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


def start(node: LifecycleNode) -> bool:
    """Configure and activate the node; returns whether it is active now. A node that fails stays to be mended."""
    return (
        node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        and node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    )


def run(make_node: Callable[[], Any], arguments: Sequence[str] | None = None) -> int:
    """Run one node until SIGINT or SIGTERM; returns the exit code.

    Args:
        make_node: makes the node, which has `autostart` (whether to configure and activate at once) and `close()`.
        arguments: command line with ROS arguments, by default that of the process.
    """
    # The node's own handlers: rclpy's would shut the context down first, and nothing could be said or undone any more.
    rclpy.init(args=sys.argv if arguments is None else list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    stopped = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    executor = SingleThreadedExecutor()
    node = make_node()
    try:
        executor.add_node(node)
        if node.autostart and not start(node) and node.exit_on_failure:
            return 1
        while not stopped and rclpy.ok():
            try:
                executor.spin_once(timeout_sec=SPIN_SECONDS)
            except ExternalShutdownException:
                break
            except Exception as error:
                # One callback's fault (a service call that cannot be answered, say) does not end the stream.
                node.get_logger().error(f"{type(error).__name__} in a callback: {error}")
    finally:
        node.close()
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
    return 0
