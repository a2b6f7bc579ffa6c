"""Nodes of several cameras in one process: those that run the same model on a CPU share one open network.

``ros2 run rtseg cameras left/lanes right/lanes --ros-args --params-file cameras.yaml``: a namespace and which node it
gets. ROS arguments hold for all, and a namespace among them (``-r __ns:=/truck``) stands before each camera's;
parameters of one node stand under its full name in the file (``/left/lanes:``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from rclpy.exceptions import InvalidNamespaceException
from rclpy.utilities import remove_ros_args
from rclpy.validate_namespace import validate_namespace

from rtseg_ros import lifecycle
from rtseg_ros.instances import InstancesNode
from rtseg_ros.lanes import LanesNode
from rtseg_ros.perception import PerceptionNode

NODES = {"lanes": LanesNode, "instances": InstancesNode, "perception": PerceptionNode}


def _node(text: str) -> str:
    """Check what names a node, and give its full name."""
    namespace, _, kind = f"/{text.strip('/')}".rpartition("/")
    if kind not in NODES or not namespace:
        raise argparse.ArgumentTypeError(
            f"expected a namespace and one of {', '.join(NODES)}, such as left/lanes, got {text!r}"
        )
    try:
        validate_namespace(namespace)
    except InvalidNamespaceException as error:
        raise argparse.ArgumentTypeError(" ".join(str(error).split())) from None
    return f"{namespace}/{kind}"


def _common_namespace(arguments: Sequence[str]) -> str:
    """The namespace that ROS arguments give to the process."""
    given = [word.partition(":=")[2] for word in arguments if word.startswith("__ns:=")]
    return given[-1].rstrip("/") if given else ""


def main() -> None:
    """Run the nodes until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="cameras", description="Nodes of several cameras in one process.")
    parser.add_argument("nodes", nargs="+", type=_node, metavar="NAMESPACE/NODE", help=f"node: {', '.join(NODES)}")
    names = parser.parse_args(remove_ros_args(sys.argv)[1:]).nodes
    if len(set(names)) != len(names):
        parser.error(f"expected each node once, got {' '.join(names)}")
    common = _common_namespace(sys.argv)
    parts = [name.rpartition("/") for name in names]
    lifecycle.run(*(partial(NODES[kind], common + namespace) for namespace, _, kind in parts))


if __name__ == "__main__":
    main()
