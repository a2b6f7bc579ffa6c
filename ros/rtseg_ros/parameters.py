"""The node's parameters: declared with a description, read and checked when the node is configured."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from rtseg.errors import ConfigError
from rtseg.stream import MAX_AGE

TRANSPORTS = ("auto", "raw", "compressed")


@dataclass(frozen=True)
class NodeParameters:
    """What every node takes, with the defaults; see `DESCRIPTIONS`."""

    device: str = "auto"
    backend: str = "auto"
    threads: int = 0
    transport: str = "auto"
    max_pixels: int = 20_000_000
    max_age: float = MAX_AGE
    silence_warning: float = 2.0
    drop_warning: float = 0.1
    loss_warning: float = 0.05
    latency_warning: float = 0.25
    age_warning: float = 0.5
    watchdog: float = 10.0
    overlay_width: int = 0
    overlay_quality: int = 85
    autostart: bool = True
    exit_on_failure: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        for name in (field.name for field in fields(self) if field.name.endswith("model")):
            if not getattr(self, name):
                raise ConfigError(
                    f"expected parameter {name} to name a bundled model or a model folder, got an empty text"
                )
        if self.transport not in TRANSPORTS:
            raise ConfigError(f"expected parameter transport to be one of {TRANSPORTS}, got {self.transport!r}")
        _check_range("threads", self.threads, 0, 256)
        _check_range("max_pixels", self.max_pixels, 4, 1 << 30)
        _check_range("max_age", self.max_age, 0.0, 3600.0)
        _check_range("silence_warning", self.silence_warning, 0.1, 3600.0)
        _check_range("drop_warning", self.drop_warning, 0.0, 1.0)
        _check_range("loss_warning", self.loss_warning, 0.0, 1.0)
        _check_range("latency_warning", self.latency_warning, 0.001, 3600.0)
        _check_range("age_warning", self.age_warning, 0.001, 3600.0)
        _check_range("watchdog", self.watchdog, 0.1, 3600.0)
        _check_range("overlay_width", self.overlay_width, 0, 8192)
        _check_range("overlay_quality", self.overlay_quality, 1, 100)


@dataclass(frozen=True)
class LaneOutputParameters(NodeParameters):
    """What publishing lanes takes besides."""

    camera: str = ""
    mount_height: float = 0.0
    mount_pitch: float = 0.0
    vehicle_frame: str = "base_link"
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.camera and not Path(self.camera).expanduser().is_file():
            raise ConfigError(f"expected parameter camera to name a camera YAML, but there is no file {self.camera!r}")
        if not self.vehicle_frame:
            raise ConfigError("expected parameter vehicle_frame to name a coordinate frame, got an empty text")
        _check_range("mount_height", self.mount_height, 0.0, 100.0)
        _check_range("mount_pitch", self.mount_pitch, -90.0, 90.0)
        _check_range("min_confidence", self.min_confidence, 0.0, 1.0)


@dataclass(frozen=True)
class InstanceOutputParameters(NodeParameters):
    """What publishing instances takes besides."""

    min_score: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range("min_score", self.min_score, 0.0, 1.0)


@dataclass(frozen=True)
class LaneParameters(LaneOutputParameters):
    """Of the node `lanes`."""

    model: str = "lanes-lite"


@dataclass(frozen=True)
class InstanceParameters(InstanceOutputParameters):
    """Of the node `instances`."""

    model: str = "instances-lite"


@dataclass(frozen=True)
class PerceptionParameters(LaneOutputParameters, InstanceOutputParameters):
    """Of the node `perception`."""

    lanes_model: str = "lanes-lite"
    instances_model: str = "instances-lite"


DESCRIPTIONS = {
    "model": "bundled model, or a folder with card.yaml and the network",
    "lanes_model": "model of the lanes: bundled, or a folder with card.yaml and the network",
    "instances_model": "model of the instances: bundled, or a folder with card.yaml and the network",
    "device": "auto, cpu, cuda, cuda:N, or dla on a Jetson",
    "backend": "auto, or one backend by name (rtseg doctor lists them)",
    "threads": "threads of the network on a CPU; 0: all cores",
    "transport": "raw (topic image), compressed (image/compressed), or auto: whichever is published, raw first",
    "camera": "camera YAML with intrinsics and mounting; empty: intrinsics from camera_info",
    "mount_height": "metres of the camera above the road, for use with camera_info; 0: unknown",
    "mount_pitch": "degrees by which the camera looks down, for use with camera_info",
    "vehicle_frame": "coordinate frame of ~/lanes and ~/lane_points (x forward, y left, z up)",
    "min_confidence": "lanes under this confidence are left out of every topic",
    "min_score": "instances under this score are left out of every topic",
    "max_pixels": "compressed pictures that announce more are dropped as invalid before they are decoded",
    "max_age": "seconds; older frames are dropped, and a result that is older is not published; 0: no limit",
    "silence_warning": "seconds without a frame after which the diagnostics warn",
    "drop_warning": "share of the frames of ten seconds, dropped as stale or old, above which the diagnostics warn",
    "loss_warning": "share of the frames of ten seconds, lost in transport, above which the diagnostics warn",
    "latency_warning": "seconds from reception to publication (99th percentile) above which the diagnostics warn",
    "age_warning": "seconds from a frame's stamp to publication (median) above which the diagnostics warn",
    "watchdog": "seconds for which the worker may be at one frame before the diagnostics say that it hangs",
    "overlay_width": "width of ~/overlay in pixels; 0: as the camera's image",
    "overlay_quality": "JPEG quality of ~/overlay/compressed, 1..100",
    "autostart": "configure and activate at start; false: wait for a lifecycle manager",
    "exit_on_failure": "with autostart: end with code 1 where that fails, as the launch files ask; false: stay",
}


Kind = TypeVar("Kind", bound=NodeParameters)


def declare(node: Node, kind: type[NodeParameters]) -> None:
    """Declare every parameter of a node's kind.

    Any type is taken here: a wrong one is told when the node is configured, instead of ending the process at start.
    """
    for field in fields(kind):
        descriptor = ParameterDescriptor(
            description=DESCRIPTIONS[field.name],
            additional_constraints="takes effect when the node is configured",
            dynamic_typing=True,
        )
        node.declare_parameter(field.name, field.default, descriptor)


def read(node: Node, kind: type[Kind]) -> Kind:
    """Read and check the parameters.

    Raises:
        ConfigError: if one has the wrong type or lies outside its range; the message names it.
    """
    values: dict[str, Any] = {field.name: node.get_parameter(field.name).value for field in fields(kind)}
    return kind(**values)


def _check_types(parameters: NodeParameters) -> None:
    for field in fields(parameters):
        value = getattr(parameters, field.name)
        expected = type(field.default)
        if expected is float and type(value) is int:
            object.__setattr__(parameters, field.name, float(value))
        elif type(value) is not expected:
            raise ConfigError(f"expected parameter {field.name} to be a {expected.__name__}, got {value!r}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"expected parameter {name} to lie in {low}..{high}, got {value}")
