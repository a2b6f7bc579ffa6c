"""Instance masks from a camera topic: ``ros2 launch rtseg instances.launch.py image:=/camera/image_raw``.

``ros2 launch rtseg instances.launch.py --show-args`` lists the arguments.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from rtseg_ros.launching import describe_node

SHARE = Path(get_package_share_directory("rtseg"))

ARGUMENTS = {
    "image": ("/camera/image_raw", "Image topic; its compressed form is looked for at <image>/compressed."),
    "camera_info": (
        "/camera/camera_info",
        "Topic of the camera's intrinsics.",
    ),
    "model": ("", "Bundled model, or a folder with card.yaml and the network; empty: as in params_file."),
    "params_file": (str(SHARE / "config" / "instances.yaml"), "Parameters of the node."),
    "use_sim_time": ("false", "Take the time from /clock, as with a played bag."),
    "large_frames": ("true", "Load the Fast DDS profile for large images; the camera's process needs it as well."),
    "overlay": ("false", "Show /instances/overlay in rqt_image_view."),
}
PARAMETERS = ("model",)


def generate_launch_description() -> LaunchDescription:
    """What ``ros2 launch`` runs."""
    return describe_node("instances", ARGUMENTS, PARAMETERS, "/instances/overlay")
