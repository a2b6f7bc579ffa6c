"""What ``ros2 run rtseg NODE --help`` says: what the node is, and its parameters."""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import fields
from shutil import get_terminal_size

from rclpy.utilities import remove_ros_args

from rtseg_ros.parameters import NodeParameters, setting_of


def answer_help(node: str, about: str | None, kind: type[NodeParameters]) -> None:
    """Print help and end the process with code 0, where the command line asks for it before any ROS arguments.

    What else stands there has no effect, such as a parameter file, and that is told.

    Args:
        node: its name, which is its executable's.
        about: one line of what it does.
        kind: its parameters.
    """
    arguments = remove_ros_args(sys.argv)[1:]
    if not any(argument.startswith(("-h", "--help")) for argument in arguments):
        if arguments:
            sys.stderr.write(f"{node}: {' '.join(arguments)} has no effect: arguments of ROS follow --ros-args\n")
        return  # before the text is made, which every start would wait for
    usage = f"ros2 run rtseg {node} [-h] [--ros-args -r image:=TOPIC -p PARAMETER:=VALUE --params-file FILE ...]"
    parser = argparse.ArgumentParser(
        usage=usage,
        description=about,
        epilog=_listed(kind),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.parse_known_args(arguments)


def _listed(kind: type[NodeParameters]) -> str:
    """Each parameter with its default and text, those of this kind of node first."""
    indent, width = " " * 8, max(60, get_terminal_size().columns)
    lines = ["parameters, which ros2 param describe tells of a node that runs:"]
    for each in sorted(fields(kind), key=lambda each: each.name in NodeParameters.__dataclass_fields__):
        default = str(each.default).lower() if isinstance(each.default, bool) else repr(each.default)
        lines.append(f"  {each.name} ({default})")
        lines += textwrap.wrap(setting_of(each).text, width, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)
