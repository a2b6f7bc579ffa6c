"""A recorded bag through the lane node: ``ros2 launch rtseg replay.launch.py bag:=drive image:=/camera/image_raw``.

The player starts after `start_after` seconds, in which the node loads its model; the node takes its time from
the bag's clock. Arguments of lanes.launch.py that are not listed here keep their defaults.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SHARE = Path(get_package_share_directory("rtseg"))

ARGUMENTS = {
    "bag": (None, "Folder of the ROS 2 bag."),
    "rate": ("1.0", "Speed of the replay."),
    "start_after": ("5.0", "Seconds that the node is given to load its model before the bag starts."),
    "image": ("/camera/image_raw", "Image topic of the bag."),
    "camera_info": ("/camera/camera_info", "Topic of the camera's intrinsics in the bag."),
    "model": ("", "Bundled model, or a folder with card.yaml and the network; empty: as in params_file."),
    "camera": ("", "Calibration file with intrinsics and mounting; empty: as in params_file."),
    "params_file": (str(SHARE / "config" / "lanes.yaml"), "Parameters of the node."),
    "large_frames": ("true", "Load the Fast DDS profile for large images, for player and node."),
    "overlay": ("false", "Show ~/overlay in rqt_image_view."),
}
PASSED_ON = ("image", "camera_info", "model", "camera", "params_file", "large_frames", "overlay")


def generate_launch_description() -> LaunchDescription:
    """What ``ros2 launch`` runs."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    lanes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "lanes.launch.py")),
        launch_arguments=[("use_sim_time", "true"), *((name, LaunchConfiguration(name)) for name in PASSED_ON)],
    )
    player = ExecuteProcess(
        cmd=[
            "ros2",
            "bag",
            "play",
            "--clock",
            "100",
            "--rate",
            LaunchConfiguration("rate"),
            LaunchConfiguration("bag"),
        ],
        output="screen",
    )
    return LaunchDescription(
        [
            *arguments,
            lanes,
            TimerAction(period=LaunchConfiguration("start_after"), actions=[player]),
            RegisterEventHandler(
                OnProcessExit(target_action=player, on_exit=[EmitEvent(event=Shutdown(reason="the bag is over"))])
            ),
        ]
    )
