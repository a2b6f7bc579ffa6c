"""A recorded bag through a node: ``ros2 launch rtseg replay.launch.py bag:=drive image:=/camera/image_raw``.

The bag starts when the node is active, which takes the longer the first time while its kernels are compiled, and its
end is the launch's end. The node takes its time from the bag's clock. Arguments of node.launch.py that are not listed
here may be given too.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event import Event
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.substitutions import ExecutableInPackage

SHARE = Path(get_package_share_directory("rtseg"))

ARGUMENTS = {
    "bag": (None, "Folder of the ROS 2 bag."),
    "rate": ("1.0", "Speed of the replay."),
    "executable": ("lanes", "Which node: lanes, instances or perception."),
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
    node = IncludeLaunchDescription(source, launch_arguments=[("use_sim_time", "true")])
    return LaunchDescription([*declared, OpaqueFunction(function=find_bag), node, OpaqueFunction(function=play)])


def find_bag(context: LaunchContext) -> None:
    """Refuse a bag that is not there before anything is started."""
    bag = context.launch_configurations["bag"]
    if not Path(bag).expanduser().exists():
        raise RuntimeError(f"expected a bag, but there is no {bag}; mend bag")


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Give the player, which waits for the node, and what follows from its end."""
    given = context.launch_configurations
    node = f"{given['namespace'].rstrip('/')}/{given['name'] or given['executable']}"
    # Publishers and subscribers need a moment to find each other.
    bag = ["ros2", "bag", "play", "--clock", "100", "--delay", "1.0", "--rate", given["rate"]]
    player = ExecuteProcess(
        cmd=[
            ExecutableInPackage(package="rtseg", executable="when_active"),
            f"/{node.strip('/')}",
            *bag,
            str(Path(given["bag"]).expanduser()),
        ],
        name="player",
        output="screen",
    )
    return [RegisterEventHandler(OnProcessExit(target_action=player, on_exit=judge_end)), player]


def judge_end(event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End the launch with the bag, and with code 1 if it could not be played: launch takes an exception for that."""
    assert isinstance(event, ProcessExited)
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f"the bag's player has ended with code {event.returncode}; its log says why")
    return [EmitEvent(event=Shutdown(reason="the bag is over"))]
