"""Waits until a lifecycle node is active, then becomes another command: ``when_active /lanes ros2 bag play drive``."""

from __future__ import annotations

import os
import sys
import time

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node

ASKING_SECONDS = 2.0
_USAGE = "usage: when_active NODE COMMAND [ARGUMENT ...]"


def main() -> None:
    """Wait for the node that the first argument names, and run the others as a command."""
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.stdout.write(f"{_USAGE}\n\n{__doc__}\n")
        return
    if len(sys.argv) < 3:
        sys.exit(_USAGE)
    name, command = sys.argv[1], sys.argv[2:]
    rclpy.init(args=[])
    node = Node(f"when_active_{os.getpid()}")
    try:
        node.get_logger().info(f"waiting for {name} to be active")
        wait_until_active(node, name)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"when_active: {command[0]} cannot be run: {error}")


def wait_until_active(node: Node, name: str) -> None:
    """Ask for the node's state until it is active; it may answer late, since it loads its model in between."""
    client = node.create_client(GetState, f"{name}/get_state")
    while True:
        client.wait_for_service(timeout_sec=1.0)
        answer = client.call_async(GetState.Request())
        end = time.monotonic() + ASKING_SECONDS
        while not answer.done() and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
        if answer.done() and answer.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main()
