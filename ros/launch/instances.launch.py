"""Instance masks from a camera topic: ``ros2 launch rtseg instances.launch.py image:=/camera/image_raw``.

``ros2 launch rtseg instances.launch.py --show-args`` lists the arguments, most of which node.launch.py declares.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

SHARE = Path(get_package_share_directory("rtseg"))

ARGUMENTS = {
    "model": ("", "Bundled model, or a folder with card.yaml and the network; empty: as in params_file."),
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
        [*declared, IncludeLaunchDescription(source, launch_arguments=[("executable", "instances")])]
    )
