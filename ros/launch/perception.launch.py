"""Lanes and instances of one camera, from one process that receives and decodes each frame once.

``ros2 launch rtseg perception.launch.py image:=/camera/image_raw`` publishes the topics of both nodes;
``ros2 launch rtseg perception.launch.py --show-args`` lists the arguments, most of which node.launch.py declares.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

SHARE = Path(get_package_share_directory("rtseg"))

ARGUMENTS = {
    "lanes_model": ("", "Lanes' model: a bundled one, or a folder of one's own; empty: as in params_file."),
    "instances_model": ("", "Instances' model: a bundled one, or a folder of one's own; empty: as in params_file."),
    "camera": ("", "Calibration file with intrinsics and mounting; empty: as in params_file."),
}


def generate_launch_description() -> LaunchDescription:
    """What ``ros2 launch`` runs."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "node.launch.py"))
    return LaunchDescription(
        [*declared, IncludeLaunchDescription(source, launch_arguments=[("executable", "perception")])]
    )
