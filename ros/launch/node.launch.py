"""Starts one of rtseg's nodes; lanes, instances, perception and cameras.launch.py include it.

Like all launch files here it imports nothing but launch: the library may live in an environment of its own, which
``ros2 launch`` does not see.
"""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event import Event
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.logging import get_logger
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("rtseg"))

ARGUMENTS = {
    "executable": ("lanes", "Which node: lanes, instances or perception."),
    "cameras": ("", "Names of cameras, with spaces between them: a node for each in one process; empty: one node."),
    "name": ("", "Name of the node; empty: as the executable."),
    "namespace": ("", "Namespace of the node; relative topics stand in it."),
    "image": ("/camera/image_raw", "Image topic; its compressed form is looked for at <image>/compressed."),
    "camera_info": ("", "Topic of the camera's intrinsics; empty: camera_info beside the image topic."),
    "params_file": ("", "Parameters of the node; empty: rtseg's own."),
    "use_sim_time": ("false", "Take the time from /clock, as with a played bag."),
    "large_frames": ("true", "Load the Fast DDS profile for large images; the camera's process needs it as well."),
    "overlay": ("false", "Show the node's overlay in rqt_image_view."),
    "respawn": ("false", "Start the node again when it ends; false: its end is the launch's end."),
    "log_level": ("info", "Level of the node's log: debug, info, warn, error or fatal."),
    "python": ("", "Python of the environment that rtseg is installed in; empty: the first python3 on the PATH."),
}
PARAMETERS = {
    "lanes": ("model", "camera"),
    "instances": ("model", "camera"),
    "perception": ("lanes_model", "instances_model", "camera"),
}
TRUTH = {**dict.fromkeys(("true", "1", "yes", "on"), True), **dict.fromkeys(("false", "0", "no", "off"), False)}
LEVELS = ("debug", "info", "warn", "error", "fatal")
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def generate_launch_description() -> LaunchDescription:
    """What ``ros2 launch`` runs."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check every argument, then give the node, what follows from its end, and the viewer."""
    given = dict(context.launch_configurations)
    warn_of_slips(given)
    executable = given["executable"]
    if executable not in PARAMETERS:
        raise RuntimeError(f"expected executable to be one of {', '.join(PARAMETERS)}, got {executable!r}")
    name, namespace = given["name"] or executable, given["namespace"]
    respawn = truth(given, "respawn")
    if given["log_level"] not in LEVELS:
        raise RuntimeError(f"expected log_level to be one of {', '.join(LEVELS)}, got {given['log_level']!r}")
    params_file = given["params_file"] or str(SHARE / "config" / f"{executable}.yaml")
    if not Path(params_file).expanduser().is_file():
        raise RuntimeError(f"expected a parameter file, but there is no {params_file}; mend params_file")
    topics = [("image", given["image"])]
    if given["camera_info"]:
        topics.append(("camera_info", given["camera_info"]))
    parameters = {parameter: given[parameter] for parameter in PARAMETERS[executable] if given.get(parameter)}
    cameras = given["cameras"].split()
    node = Node(
        package="rtseg",
        executable="cameras" if cameras else executable,
        arguments=[f"{camera}/{executable}" for camera in cameras],
        # Without a name launch gives all that it writes to every node of the process.
        name=None if cameras else name,
        namespace=namespace or None if cameras else namespace,
        output="screen",
        parameters=[
            str(Path(params_file).expanduser()),
            # Whoever launches wants the end of a node that cannot work told, not a process that waits to be mended.
            {"use_sim_time": truth(given, "use_sim_time"), "exit_on_failure": True, **parameters},
            *([calibrations(cameras, name, parameters["camera"])] if cameras and "camera" in parameters else []),
        ],
        remappings=topics,
        ros_arguments=["--log-level", given["log_level"], *(["-r", f"__node:={name}"] if cameras else [])],
        additional_env={"RTSEG_PYTHON": given["python"]} if given["python"] else {},
        respawn=respawn,
        respawn_delay=2.0,
    )
    entities: list[LaunchDescriptionEntity] = []
    if truth(given, "large_frames") and not any(os.environ.get(variable) for variable in PROFILE_VARIABLES):
        profile = str(SHARE / "config" / "fastdds_large_frames.xml")
        entities += [SetEnvironmentVariable(variable, profile) for variable in PROFILE_VARIABLES]
    if truth(given, "overlay"):
        parts = [f"{namespace.rstrip('/')}/{camera}" for camera in cameras] or [namespace.rstrip("/")]
        entities += [viewer(f"{part}/{name}/overlay") for part in parts]
    if not respawn:
        entities.append(RegisterEventHandler(OnProcessExit(target_action=node, on_exit=judge_end)))
    return [*entities, node]


def truth(given: dict[str, str], name: str) -> bool:
    """What a switch says; whatever is neither true nor false is refused."""
    value = TRUTH.get(given[name].strip().lower())
    if value is None:
        raise RuntimeError(f"expected {name} to be true or false, got {given[name]!r}")
    return value


def calibrations(cameras: list[str], name: str, path: str) -> str:
    """Give a file of parameters that says each camera's calibration, as launch writes one for those of one node."""
    files = {
        f"/**/{camera}/{name}": {"ros__parameters": {"camera": path.replace("{name}", camera)}} for camera in cameras
    }
    with tempfile.NamedTemporaryFile("w", prefix="launch_params_", suffix=".yaml", delete=False) as file:
        json.dump(files, file)  # which is YAML, too
    return file.name


def viewer(topic: str) -> Node:
    """Give rqt_image_view for a topic; looked for before anything is started, since a failure later leaves the node."""
    try:
        get_package_prefix("rqt_image_view")
    except PackageNotFoundError:
        distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        raise RuntimeError(
            f"overlay:=true needs rqt_image_view: sudo apt install ros-{distribution}-rqt-image-view, or look at "
            f"{topic} with another viewer"
        ) from None
    return Node(package="rqt_image_view", executable="rqt_image_view", arguments=[topic])


def judge_end(event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End the launch with the node, and with code 1 if the node failed: launch takes an exception for that."""
    assert isinstance(event, ProcessExited)
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f"{event.process_name} has ended with code {event.returncode}; its log says why")
    return [EmitEvent(event=Shutdown(reason=f"{event.process_name} has ended"))]


def warn_of_slips(given: dict[str, str]) -> None:
    """Tell of arguments that look like a misspelled one; launch takes any."""
    known = {*ARGUMENTS, *(name for names in PARAMETERS.values() for name in names)}
    for name in sorted(given.keys() - known):
        meant = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if meant:
            get_logger("rtseg").warning(f"{name} is no argument; did you mean {meant[0]}?")
