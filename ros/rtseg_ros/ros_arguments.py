"""ROS arguments of the command line: what ROS refuses, or drops in silence, is told in a sentence."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

from rtseg.yaml_text import read_yaml

REFUSALS: tuple[type[Exception], ...] = (
    ParameterException,
    NameValidationException,
    rclpy_implementation.RCLError,
    rclpy_implementation.UnknownROSArgsError,
)
"""What rclpy raises where arguments, parameters or names are none."""

_PLACES = re.compile(r",? at /\S+:\d+|:? ?Error: error not set")
_PARAMETERS = "ros__parameters"


def refusal(error: Exception) -> str:
    """Say in a sentence what ROS refuses, and what was expected."""
    reason = " ".join(_PLACES.sub("", str(error)).split())
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f"expected ROS arguments behind --ros-args, got {reason}"
    for part, expected in (
        ("params file", f"a YAML file with NODE: {_PARAMETERS}: NAME: VALUE, a value to each name"),
        ("parameter override", "-p NAME:=VALUE"),
        ("remap rule", "-r NAME:=NAME, without spaces and with no part that begins with a digit"),
        ("log level", "--log-level debug, info, warn, error or fatal"),
    ):
        if part in reason:
            return f"{reason}; expected {expected}"
    return reason


def files_of_others(node: Node, arguments: Sequence[str]) -> Iterator[str]:
    """A sentence for each parameter file on the command line of which nothing is for this node."""
    taken = set(getattr(node, "_parameter_overrides", {}))
    for word, path in itertools.pairwise(arguments):
        if word != "--params-file":
            continue
        sections: dict[str, set[str]] = {}
        with suppress(OSError, yaml.YAMLError):  # ROS has read it
            _find_sections(read_yaml(Path(path)), "", sections)
        # Of a section that is this node's every name has been taken.
        if sections and not any(names <= taken for names in sections.values()):
            yield (
                f"{path} has no effect: it holds parameters of {', '.join(sections)}, and this node is "
                f"{node.get_fully_qualified_name()}"
            )


def _find_sections(content: Any, name: str, sections: dict[str, set[str]]) -> None:
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == _PARAMETERS:
            if names := set(_names(value)):
                sections.setdefault(name or "/", set()).update(names)
        else:
            _find_sections(value, f"{name}/{key}" if name else str(key), sections)


def _names(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, dict):
                yield from (f"{key}.{name}" for name in _names(value))
            else:
                yield str(key)
