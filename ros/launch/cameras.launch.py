"""Several cameras, each with a node and a namespace of its own.

``ros2 launch rtseg cameras.launch.py cameras:="left right"``

The node of the camera ``left`` is ``/left/lanes`` and listens to ``/left/image_raw``. Arguments of node.launch.py that
are not listed here hold for every camera.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource

SHARE = Path(get_package_share_directory("rtseg"))

ARGUMENTS = {
    "cameras": (None, "Names of the cameras, which are their namespaces, with spaces between them."),
    "one_process": ("false", "All nodes in one process, where they share one loaded model; false: a process each."),
    "executable": ("lanes", "Which node each camera gets: lanes, instances or perception."),
    "image": ("image_raw", "Image topic inside a camera's namespace."),
    "camera": ("", "Calibration file; {name} in it stands for the camera's name; empty: as in params_file."),
}


def generate_launch_description() -> LaunchDescription:
    """What ``ros2 launch`` runs."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Give a group for each camera, or one node's process for all."""
    given = context.launch_configurations
    names = [name.strip("/") for name in given["cameras"].replace(",", " ").split()]
    if not names or len(set(names)) != len(names):
        raise RuntimeError(f"expected cameras to name each camera once, got {given['cameras']!r}")
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "node.launch.py"))
    together = given["one_process"].strip().lower()
    if together not in ("true", "false"):
        raise RuntimeError(f"expected one_process to be true or false, got {given['one_process']!r}")
    if together == "true":
        return [IncludeLaunchDescription(source, launch_arguments=[("cameras", " ".join(names))])]
    return [
        GroupAction(
            [
                IncludeLaunchDescription(
                    source,
                    launch_arguments=[
                        ("cameras", ""),
                        ("namespace", f"/{name}"),
                        ("camera", given["camera"].replace("{name}", name)),
                    ],
                )
            ]
        )
        for name in names
    ]
