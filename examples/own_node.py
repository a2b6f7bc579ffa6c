"""One's own ROS 2 node on the pipeline: how far it is to the nearest lane line.

    python examples/own_node.py --ros-args -r image:=/camera/image_raw

rtseg's own nodes add what a car needs beside this: the newest frame wins, backends are watched, nothing is computed for
nobody. See ros/rtseg_ros.
"""

from __future__ import annotations

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rtseg_ros.messages import to_frame
from sensor_msgs.msg import Image
from std_msgs.msg import Float32

import rtseg


class LaneDistance(Node):
    """Publishes how far the middle of the picture is from the nearest line, as a share of the picture's width.

    Args:
        model: a bundled lane model, or the folder of one's own.
    """

    def __init__(self, model: str = "lanes-lite") -> None:
        super().__init__("lane_distance")
        self._pipeline = rtseg.load(model)
        self._pipeline.warm_up()  # the first frame shall not wait for compilation
        self._distance = self.create_publisher(Float32, "~/distance", 1)
        self.create_subscription(Image, "image", self._receive, qos_profile_sensor_data)

    def _receive(self, message: Image) -> None:
        lanes = self._pipeline(to_frame(message))
        assert isinstance(lanes, rtseg.Lanes)
        x = lanes.sample([0.9 * message.height])
        if np.isfinite(x).any():
            nearest = float(np.nanmin(np.abs(x - 0.5 * message.width))) / message.width
            self._distance.publish(Float32(data=nearest))


def main() -> None:
    """Run until interrupted."""
    rclpy.init()
    try:
        rclpy.spin(LaneDistance())
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
