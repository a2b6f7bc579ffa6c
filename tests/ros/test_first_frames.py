"""Once a node is active, no frame waits for a module to be imported or a kernel to be compiled."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from rtseg_ros import messages
from sensor_msgs.msg import CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from rtseg.camera import Camera, Mount
from tests.instance_networks import paint
from tests.ros.harness import LOST, Peer, Process, header, qos

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
# Tells of every module that is looked for, and of every kernel that is compiled.
TELLING = """
import sys
from numba.core import event

class Telling(event.Listener):
    def on_start(self, event):
        print("late: compiling", event.data["dispatcher"].py_func.__name__, flush=True)
    def on_end(self, event):
        pass

event.register("numba:compile", Telling())
sys.addaudithook(lambda name, told: name == "import" and print("late: importing", told[0], flush=True))
from rtseg_ros.perception import main
main()
"""


def _scene(number: int) -> np.ndarray:
    """A person crosses in front of a car, between two lane lines."""
    x = 16 + 8 * number
    image = paint([(1, 0, (96, 40, 176, 96)), (0, 2, (200, 96, 216, 120)), (0, 1, (x, 56, x + 24, 120))], (128, 256))[0]
    image[:, 120:130] = (0, 0, 255)
    return image


@pytest.mark.slow
def test_nothing_is_imported_or_compiled_for_a_frame(
    dds: dict[str, str], model: Path, instance_model: Path, tmp_path: Path
) -> None:
    k = np.array([[200.0, 0, 128], [0, 200, 30], [0, 0, 1]])
    mount = Mount(height=1.4, pitch=0.02)
    Camera(width=256, height=128, K=k, distortion=np.zeros(5), mount=mount).save(tmp_path / "camera.yaml")
    names = {"lanes_model": model, "instances_model": instance_model, "camera": tmp_path / "camera.yaml"}
    parameters = [word for name, folder in names.items() for word in ("-p", f"{name}:={folder}")]
    command = [sys.executable, "-c", TELLING, "--ros-args", "-r", "__ns:=/first_frames", *parameters]
    process = Process(command, dds, tmp_path / "node.log")
    peer = Peer("/first_frames", process, "perception")
    try:
        masks = peer.listen(Image, "/instances/instance_mask")
        others = [
            peer.listen(Image, "/lanes/lane_mask"),
            peer.listen(MarkerArray, "/lanes/lanes"),
            peer.listen(Image, "overlay"),
            peer.listen(CompressedImage, "overlay/compressed"),
        ]
        peer.wait_until_listening()
        before = process.output().count("late: ")
        assert before  # it is heard
        for number in range(3):
            peer.exchange(_scene(number), (number + 1) * SECOND, masks)
        peer.exchange(_scene(3)[..., ::-1], 4 * SECOND, masks, "rgb8")
        peer.node.destroy_publisher(peer.images)
        publisher = peer.node.create_publisher(CompressedImage, "image/compressed", qos(5))
        message = messages.to_jpeg(_scene(4), 95, header(5 * SECOND))
        peer.insist(
            lambda: publisher.publish(message), lambda: peer.with_stamp(5 * SECOND, masks), LOST, "no compressed frame"
        )
        peer.spin_until(lambda: all(others), "not every topic")
        late = [line for line in process.output().splitlines() if line.startswith("late: ")][before:]
        assert not late
    finally:
        peer.close()
        process.end()
