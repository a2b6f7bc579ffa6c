"""What rclpy's lifecycle node leaves to be done: starting without a manager, refused transitions, an orderly end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier

from rtseg_ros import shared_memory
from rtseg_ros.loading import Stopped
from rtseg_ros.transport import profile_is_set

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
    """Asks for the end, by a signal or a node's failure, and ends the process where that is not heard in time.

    A second signal ends it at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self.code = 0
        signal.signal(signal.SIGINT, self._hear)
        signal.signal(signal.SIGTERM, self._hear)

    def ask(self, code: int = 0) -> None:
        """Let all nodes end; `code` is the process's."""
        self.asked, self.code = True, max(self.code, code)
        last_resort = threading.Timer(PATIENCE, _leave, args=(self.code,))
        last_resort.daemon = True
        last_resort.start()

    def check(self) -> None:
        """Raise Stopped if the end was asked for."""
        if self.asked:
            raise Stopped

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            _leave(self.code)
        self.ask()


def _leave(code: int) -> NoReturn:
    """End the process whatever its threads are at."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a log file on a disk that is full
            stream.flush()
    os._exit(code)


def run(*make_nodes: Callable[[], Any], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run nodes until SIGINT or SIGTERM, then end the process: with code 0, or that of a node's failure.

    Each node has a thread, in which it is configured and receives, so that none waits for another.

    Args:
        make_nodes: each makes a node, which has `autostart` (whether to configure and activate at once),
            `exit_on_failure` (whether all is to end where that fails), `loading` (whose `check_for_end` is set here)
            and `close()`.
        arguments: command line with ROS arguments, by default that of the process.
    """
    shortage = shared_memory.why_slow(profile_is_set(os.environ))  # before this process takes its share
    # The nodes' own handlers: rclpy's would shut the context down first, and nothing could be said or undone any more.
    rclpy.init(args=sys.argv if arguments is None else list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    ending = _Ending()
    nodes = [make_node() for make_node in make_nodes]
    if shortage and "fastrtps" in get_rmw_implementation_identifier():
        nodes[0].get_logger().warning(shortage)
    threads = [threading.Thread(target=_serve, args=(node, ending), daemon=True) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rclpy.try_shutdown()
    # All is in order now. The interpreter would take its time to take itself apart, and wait for a compiler or a
    # network that does not return, or crash with it.
    _leave(ending.code)


def _serve(node: Any, ending: _Ending) -> None:
    """Run a node in this thread until the end is asked for."""
    executor = SingleThreadedExecutor()
    node.loading.check_for_end = ending.check
    try:
        executor.add_node(node)
        if node.autostart and not start(node) and node.exit_on_failure:
            ending.ask(1)
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
    except BaseException:
        ending.ask(1)
        raise
    finally:
        node.close()
        executor.remove_node(node)
        destroy(node)
