"""What the launch files of the nodes share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from rtseg_ros.transport import with_large_frames


def describe_node(
    executable: str, arguments: Mapping[str, tuple[str, str]], parameters: Sequence[str], overlay: str
) -> LaunchDescription:
    """Launch one of rtseg's nodes.

    Args:
        executable: and name of the node.
        arguments: default and description of each launch argument; among them image, camera_info, params_file,
            use_sim_time, large_frames and overlay.
        parameters: those that set a parameter of the node, unless they are left empty.
        overlay: topic that the argument overlay shows.
    """

    def load_profile(context: LaunchContext) -> list[SetEnvironmentVariable]:
        """Name the large-frame profile in the environment, unless the user names one of their own."""
        if LaunchConfiguration("large_frames").perform(context).lower() not in ("true", "1"):
            return []
        wanted = with_large_frames(os.environ)
        return [SetEnvironmentVariable(name, wanted[name]) for name in wanted.keys() - os.environ.keys()]

    def start_node(context: LaunchContext) -> list[Node]:
        """The node; arguments left empty do not touch what params_file says."""
        given = {name: LaunchConfiguration(name).perform(context) for name in parameters}
        image = LaunchConfiguration("image").perform(context)
        use_sim_time = LaunchConfiguration("use_sim_time").perform(context).lower() in ("true", "1")
        return [
            Node(
                package="rtseg",
                executable=executable,
                name=executable,
                output="screen",
                parameters=[
                    LaunchConfiguration("params_file"),
                    {"use_sim_time": use_sim_time, **{name: value for name, value in given.items() if value}},
                ],
                remappings=[
                    ("image", image),
                    ("image/compressed", f"{image}/compressed"),
                    ("camera_info", LaunchConfiguration("camera_info")),
                ],
            )
        ]

    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
    viewer = Node(
        package="rqt_image_view",
        executable="rqt_image_view",
        arguments=[overlay],
        condition=IfCondition(LaunchConfiguration("overlay")),
    )
    return LaunchDescription(
        [*declared, OpaqueFunction(function=load_profile), OpaqueFunction(function=start_node), viewer]
    )
