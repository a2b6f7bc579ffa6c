"""The node's parameters: declared with text and range, checked when they are set and when the node is configured."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from rtseg.camera import Camera
from rtseg.errors import ConfigError, RtsegError
from rtseg.runtime import find_model
from rtseg.runtime.backends.registry import BACKENDS
from rtseg.runtime.device import parse_device
from rtseg.runtime.ignore import ignore_mask
from rtseg.stream import MAX_AGE
from rtseg_ros.ros_arguments import files_of_others

TRANSPORTS = ("auto", "raw", "compressed", "ffmpeg")
LATER = "takes effect when the node is configured"
LIVE = "takes effect at once"
LONGEST_REASON = 500
LONGEST_FRAME = 255

_OF_ROS = ("qos_overrides./clock.", "qos_overrides./parameter_events.")  # which rclpy declares, some only later
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Setting:
    """What is said and asked of a parameter's value.

    Attributes:
        text: description for people.
        low: least value, of numbers.
        high: greatest value, of numbers.
        live: whether a change takes effect at once.
        check: further demands; raises RtsegError.
    """

    text: str
    low: float | None = None
    high: float | None = None
    live: bool = False
    check: Callable[[Any], None] | None = None


def _setting(
    default: Any,
    text: str,
    low: float | None = None,
    high: float | None = None,
    live: bool = False,
    check: Callable[[Any], None] | None = None,
) -> Any:
    return field(default=default, metadata={"setting": Setting(text, low, high, live, check)})


def _check_model(value: str) -> None:
    if not value:
        raise ConfigError("expected a bundled model or a model folder, got an empty text")


def _check_device(value: str) -> None:
    parse_device(value)


def _check_backend(value: str) -> None:
    if value != "auto" and value not in BACKENDS:
        raise ConfigError(f"expected auto or one of {', '.join(BACKENDS)}, got {value!r}")


def _check_transport(value: str) -> None:
    if value not in TRANSPORTS:
        raise ConfigError(f"expected one of {', '.join(TRANSPORTS)}, got {value!r}")


def _check_camera(value: str) -> None:
    if value and not Path(value).expanduser().is_file():
        raise ConfigError(f"expected a camera YAML, but there is no file {value!r}")
    if value:
        Camera.load(Path(value).expanduser())


def _check_ignore(value: str) -> None:
    if value:
        ignore_mask(Path(value).expanduser())


def _check_frame(value: str) -> None:
    if not value:
        raise ConfigError("expected a coordinate frame, got an empty text")
    if value.startswith("/"):
        raise ConfigError(f"expected a coordinate frame without a slash before it, as TF 2 has them, got {value!r}")
    if len(value) > LONGEST_FRAME or not value.isprintable() or " " in value:
        raise ConfigError(
            f"expected a coordinate frame of at most {LONGEST_FRAME} characters, without spaces, got {value[:40]!r}"
        )


@dataclass(frozen=True)
class NodeParameters:
    """What every node takes, with the defaults."""

    device: str = _setting("auto", "auto, cpu, cuda, cuda:N, or dla on a Jetson", check=_check_device)
    backend: str = _setting("auto", "auto, or one backend by name (rtseg doctor lists them)", check=_check_backend)
    threads: int = _setting(0, "threads of the network on a CPU; 0: all cores", 0, 256)
    ignore: str = _setting(
        "",
        "mask picture, or YAML with polygons, of what of the frames is not road; auto: learned; empty: none",
        check=_check_ignore,
    )
    transport: str = _setting(
        "auto",
        "raw (topic image), compressed (image/compressed), ffmpeg (image/ffmpeg), or auto: the first that is published",
        check=_check_transport,
    )
    camera: str = _setting(
        "", "camera YAML with intrinsics and mounting; empty: intrinsics from camera_info", check=_check_camera
    )
    mount_height: float = _setting(
        0.0, "metres of the camera above the road, for use with camera_info; 0: unknown, or by /tf_static", 0.0, 100.0
    )
    mount_pitch: float = _setting(0.0, "degrees by which the camera looks down, for use with camera_info", -90.0, 90.0)
    vehicle_frame: str = _setting(
        "base_link",
        "coordinate frame of what is told in metres (x forward, y left, z up, its origin on the ground)",
        live=True,
        check=_check_frame,
    )
    max_pixels: int = _setting(
        20_000_000,
        "compressed pictures that announce more are dropped as invalid before they are decoded",
        4,
        1 << 30,
        live=True,
    )
    max_age: float = _setting(
        MAX_AGE,
        "seconds; older frames are dropped, and a result that is older is not published; 0: no limit",
        0.0,
        3600.0,
        live=True,
    )
    silence_warning: float = _setting(
        1.5, "seconds without a frame after which the diagnostics warn", 0.1, 3600.0, live=True
    )
    drop_warning: float = _setting(
        0.1,
        "share of the frames of 1.5 or of ten seconds, dropped as stale or old, above which the diagnostics warn",
        0.0,
        1.0,
        live=True,
    )
    loss_warning: float = _setting(
        0.05,
        "share of the frames of 1.5 or of ten seconds, lost in transport, above which the diagnostics warn",
        0.0,
        1.0,
        live=True,
    )
    latency_warning: float = _setting(
        0.25,
        "seconds from reception to publication (99th percentile) above which the diagnostics warn",
        0.001,
        3600.0,
        live=True,
    )
    age_warning: float = _setting(
        0.5,
        "seconds from a frame's stamp to publication (median) above which the diagnostics warn",
        0.001,
        3600.0,
        live=True,
    )
    watchdog: float = _setting(
        10.0,
        "seconds for which the worker may be at one frame before the diagnostics say that it hangs",
        0.1,
        3600.0,
        live=True,
    )
    overlay_width: int = _setting(0, "width of ~/overlay in pixels; 0: as the camera's image", 0, 8192, live=True)
    overlay_quality: int = _setting(85, "JPEG quality of ~/overlay/compressed, 1..100", 1, 100, live=True)
    autostart: bool = _setting(True, "configure and activate at start; false: wait for a lifecycle manager")
    exit_on_failure: bool = _setting(
        False, "with autostart: end with code 1 where that fails, as the launch files ask; false: stay"
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, checked(each, getattr(self, each.name)))


@dataclass(frozen=True)
class LaneOutputParameters(NodeParameters):
    """What publishing lanes takes besides."""

    lane_width: float = _setting(
        3.5, "metres that lanes are wide on these roads, by which the camera's height is watched", 1.5, 7.0
    )
    min_confidence: float = _setting(
        0.0, "lanes under this confidence are left out of every topic", 0.0, 1.0, live=True
    )


@dataclass(frozen=True)
class InstanceOutputParameters(NodeParameters):
    """What publishing instances takes besides."""

    min_score: float = _setting(0.0, "instances under this score are left out of every topic", 0.0, 1.0, live=True)


@dataclass(frozen=True)
class LaneParameters(LaneOutputParameters):
    """Of the node `lanes`."""

    model: str = _setting("lanes-lite", "bundled model, or a folder with card.yaml and the network", check=_check_model)


@dataclass(frozen=True)
class InstanceParameters(InstanceOutputParameters):
    """Of the node `instances`."""

    model: str = _setting(
        "instances-lite", "bundled model, or a folder with card.yaml and the network", check=_check_model
    )


@dataclass(frozen=True)
class PerceptionParameters(LaneOutputParameters, InstanceOutputParameters):
    """Of the node `perception`."""

    lanes_model: str = _setting(
        "lanes-lite", "model of the lanes: bundled, or a folder with card.yaml and the network", check=_check_model
    )
    instances_model: str = _setting(
        "instances-lite",
        "model of the instances: bundled, or a folder with card.yaml and the network",
        check=_check_model,
    )


Kind = TypeVar("Kind", bound=NodeParameters)


def setting_of(parameter: Any) -> Setting:
    """What is said and asked of a parameter, given its dataclass field."""
    setting: Setting = parameter.metadata["setting"]
    return setting


def checked(parameter: Any, value: Any) -> Any:
    """Check one value; gives it as a float where one is expected and an integer came.

    Args:
        parameter: dataclass field of the parameter.
        value: what it is to be.

    Raises:
        ConfigError: if the value has the wrong type, lies outside its range, or names nothing that is there.
    """
    name, expected, setting = parameter.name, type(parameter.default), setting_of(parameter)
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        raise ConfigError(
            f"expected parameter {name} to be {_KINDS[expected]}, got {'none' if value is None else repr(value)}"
        )
    if setting.low is not None and setting.high is not None and not setting.low <= value <= setting.high:
        raise ConfigError(f"expected parameter {name} to lie in {setting.low}..{setting.high}, got {value}")
    if setting.check is not None:
        try:
            setting.check(value)
        except (RtsegError, OSError) as error:  # OSError: of a path that is too long, say
            raise ConfigError(f"parameter {name}: {error}") from None
    return value


def declare(node: Node, kind: type[NodeParameters]) -> None:
    """Declare every parameter of a node's kind, and warn of those given at start that are none.

    Any value is taken here: a wrong one is told when the node is configured, instead of ending the process at start.
    """
    for each in fields(kind):
        node.declare_parameter(each.name, each.default, ParameterDescriptor(dynamic_typing=True))
    describe(node, kind)
    known = [each.name for each in fields(kind)]
    for name in getattr(node, "_parameter_overrides", {}):
        if name.startswith("qos_overrides."):
            if not name.startswith(_OF_ROS):
                node.get_logger().warning(f"parameter {name} has no effect: the QoS of this node is not to be set")
        elif not node.has_parameter(name):
            meant = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {meant[0]}?" if meant else ""
            node.get_logger().warning(f"parameter {name} is not known and has no effect{hint}")
    for sentence in files_of_others(node, sys.argv):
        node.get_logger().warning(sentence)


def describe(node: Node, kind: type[NodeParameters]) -> None:
    """Give each parameter its text and, once its value lies within it, its range; rclpy takes no range otherwise."""
    for each in fields(kind):
        setting = setting_of(each)
        node.set_descriptor(each.name, _descriptor(setting))
        if setting.low is None or setting.high is None:
            continue
        ranged = _descriptor(setting)
        if type(each.default) is float:
            bounds = FloatingPointRange(from_value=float(setting.low), to_value=float(setting.high))
            ranged.floating_point_range = [bounds]
        else:
            ranged.integer_range = [IntegerRange(from_value=int(setting.low), to_value=int(setting.high))]
        try:
            node.set_descriptor(each.name, ranged)
        except InvalidParameterValueException:
            continue


def _descriptor(setting: Setting) -> ParameterDescriptor:
    # Any type, so that a wrong one is refused with words of our own, and an integer is taken for a float.
    when = LIVE if setting.live else LATER
    return ParameterDescriptor(description=setting.text, additional_constraints=when, dynamic_typing=True)


def read(node: Node, kind: type[Kind]) -> Kind:
    """Read and check the parameters.

    Raises:
        ConfigError: if one has the wrong type or lies outside its range; the message names it.
    """
    values: dict[str, Any] = {each.name: node.get_parameter(each.name).value for each in fields(kind)}
    parameters = kind(**values)
    describe(node, kind)
    return parameters


@dataclass(frozen=True)
class Judgment:
    """What becomes of parameters that somebody wants to set.

    Attributes:
        answer: with a reason for a refusal.
        live: values that take effect at once.
        later: names of those that take effect when the node is configured.
    """

    answer: SetParametersResult
    live: dict[str, Any] = field(default_factory=dict)
    later: list[str] = field(default_factory=list)


def judge(kind: type[NodeParameters], changed: Sequence[Parameter]) -> Judgment:
    """Judge what somebody wants to set; either all of it is taken or nothing."""
    known = {each.name: each for each in fields(kind)}
    live: dict[str, Any] = {}
    later: list[str] = []
    for parameter in changed:
        if parameter.name not in known:  # rclpy's own
            continue
        try:
            value = checked(known[parameter.name], parameter.value)
            if parameter.name.endswith("model"):
                _find_model(parameter.name, value)
        except RtsegError as error:
            return Judgment(SetParametersResult(successful=False, reason=_short(str(error))))
        if setting_of(known[parameter.name]).live:
            live[parameter.name] = value
        else:
            later.append(parameter.name)
    return Judgment(SetParametersResult(successful=True), live, later)


def _find_model(name: str, value: str) -> None:
    """As loading does, when the node is configured."""
    try:
        find_model(value)
    except RtsegError as error:
        raise ConfigError(f"parameter {name}: {error}") from None


def _short(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 3]}..."
