"""The example of one's own node answers a camera."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rtseg_ros.messages import to_image
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Header

from examples.own_node import LaneDistance
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros


def test_it_tells_how_far_the_next_line_is(dds: dict[str, str], model: Path) -> None:
    node, camera = LaneDistance(str(model)), rclpy.create_node("camera")
    answers: list[Float32] = []
    camera.create_subscription(Float32, "/lane_distance/distance", answers.append, 1)
    publisher = camera.create_publisher(Image, "/image", qos_profile_sensor_data)
    executor = SingleThreadedExecutor()
    for each in (node, camera):
        executor.add_node(each)
    message = to_image(two_lane_road(), "bgr8", Header(frame_id="camera"))
    end = time.monotonic() + 60
    while not answers and time.monotonic() < end:
        publisher.publish(message)
        executor.spin_once(timeout_sec=0.1)
    for each in (node, camera):
        each.destroy_node()
    assert answers
    assert 0 < answers[0].data < 0.5
