"""The nodes `instances` and `perception` as colcon builds them, each in its own process over DDS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nav_msgs.msg import OccupancyGrid
from rtseg_ros import messages
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import String

import rtseg
from rtseg.camera import Camera, Mount
from rtseg.frame import Frame
from rtseg.lab.deploy.foreign.answers import NORMALIZATIONS, Answers
from rtseg.lab.deploy.foreign.import_model import import_model
from rtseg.lanes import GroundPlane
from rtseg.media.overlay import draw_instances
from rtseg.messages import (
    Ground,
    class_labels,
    ground_lines,
    lane_grid,
    surface_confidence,
    surface_kinds,
    surface_mask,
    surfaces_of,
)
from rtseg.results import Instances
from tests.foreign_networks import SURFACES, paint_objects, write_semantic, write_yolo
from tests.instance_networks import CLASSES, paint
from tests.ros.harness import LOST, Peer, header, mask_of, qos

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
WARN, ERROR = 1, 2
SIZE = (128, 256)
StartNode = Callable[..., Peer]


def _drive(number: int) -> np.ndarray:
    """A person crosses in front of a car; a small one's score is low."""
    x = 16 + 8 * number
    return paint([(1, 0, (96, 40, 176, 96)), (0, 2, (200, 96, 216, 120)), (0, 1, (x, 56, x + 24, 120))], SIZE)[0]


def _ids_of(message: Image) -> np.ndarray:
    assert (message.encoding, message.step) == ("16UC1", 2 * message.width)
    return np.frombuffer(message.data, dtype="<u2").reshape(message.height, message.width)


def _expected(result: Instances, values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], values])[result.labels]


def test_masks_overlays_and_labels_equal_the_offline_pipeline(start_node: StartNode, instance_model: Path) -> None:
    offline = rtseg.load(instance_model)
    peer = start_node(executable="instances", model=str(instance_model))
    ids, classes = peer.listen(Image, "instance_mask"), peer.listen(Image, "class_mask")
    overlays = peer.listen(Image, "overlay")
    peer.wait_until_listening()
    for number in range(10):
        stamp = 5 * SECOND + number * 100_000_000
        expected = offline(Frame(_drive(number), stamp))
        got = peer.exchange(_drive(number), stamp, ids)
        np.testing.assert_array_equal(_ids_of(got), _expected(expected, expected.ids))
        assert len(expected) == 3
        assert got.header == header(stamp)
    peer.spin_until(lambda: len(classes) == 10 and len(overlays) == 10, "not every topic")
    np.testing.assert_array_equal(mask_of(classes[-1]), _expected(expected, expected.class_ids + 1))
    # Above row 24 stands the legend with the times of this very run.
    drawn = draw_instances(_drive(9), expected, CLASSES)
    np.testing.assert_array_equal(messages.to_frame(overlays[-1]).image[30:], drawn[30:])
    told = peer.listen(messages.LABEL_INFO_TYPE, "label_info", qos(1, latched=True))
    peer.spin_until(lambda: told, "no label info")
    if messages.LABEL_INFO_TYPE is String:
        names = {entry["class_id"]: entry["class_name"] for entry in json.loads(told[0].data)["class_map"]}
    else:
        names = {entry.class_id: entry.class_name for entry in told[0].class_map}
    assert names == {0: "no object", 1: "person", 2: "car"}
    health = peer.wait_for_health(lambda h: h["processed"] == "10", "frames not counted")
    assert health["model"] == "blocks"
    assert float(health["stage_group_p50_ms"]) > 0
    assert "Traceback" not in peer.process.output()

    # The same process again, through the lifecycle: bad models and parameters are told, then it works again.
    assert peer.change_state("deactivate")
    assert peer.change_state("cleanup")
    for name, wrong, right in (("model", "no-such-model", str(instance_model)), ("min_score", 2.0, 0.5)):
        refused = peer.try_parameter(name, wrong)
        assert not refused.successful
        assert name in refused.reason
        peer.set_parameter(name, right)
    assert peer.change_state("configure")
    assert peer.change_state("activate")
    peer.wait_until_listening()
    offline.reset()
    expected = offline(Frame(_drive(0), 100 * SECOND))
    kept = np.where(expected.scores >= 0.5, expected.ids, 0)
    assert 0 < np.count_nonzero(kept) < len(kept)
    got = peer.exchange(_drive(0), 100 * SECOND, ids)
    np.testing.assert_array_equal(_ids_of(got), _expected(expected, kept))
    assert peer.process.stop() == 0


def test_a_lane_model_is_refused_in_words(start_node: StartNode, model: Path, instance_model: Path) -> None:
    peer = start_node(executable="perception", model="", lanes_model=str(model), instances_model=str(model))
    health = peer.wait_for_health(lambda h: h["level"] == ERROR, "no error told")
    assert "expected a model for instances" in health["message"]
    assert "instances_model" in health["message"]
    peer.set_parameter("instances_model", str(instance_model))
    assert peer.change_state("configure")
    assert peer.change_state("activate")
    # Lanes and instances of one camera: what the two nodes would publish, under their names, from one subscription.
    lane_masks = peer.listen(Image, "/lanes/lane_mask")
    ids = peer.listen(Image, "/instances/instance_mask")
    both = peer.listen(CompressedImage, "overlay/compressed")
    peer.wait_until_listening()
    lanes_offline, instances_offline = rtseg.load(model), rtseg.load(instance_model)
    image = _drive(2)
    image[:, 120:130] = (0, 0, 255)
    for number in range(3):
        frame = Frame(image, (number + 1) * SECOND)
        got = peer.exchange(image, frame.stamp, ids)
        expected = instances_offline(frame)
        np.testing.assert_array_equal(_ids_of(got), _expected(expected, expected.ids))
        lane_mask = peer.spin_until(lambda stamp=frame.stamp: peer.with_stamp(stamp, lane_masks), "no lane mask")
        np.testing.assert_array_equal(mask_of(lane_mask), lanes_offline(frame).mask)
        assert lane_mask.header == got.header
    peer.spin_until(lambda: len(both) == 3, "no overlay of both")
    assert messages.to_frame(both[-1]).image.shape == image.shape
    health = peer.wait_for_health(lambda h: h["processed"] == "3", "frames not counted")
    assert {"stage_lanes_infer_p50_ms", "stage_instances_infer_p50_ms", "stage_instances_track_p50_ms"} <= set(health)
    assert (health["lanes_model"], health["instances_model"]) == ("thresholds", "blocks")
    assert peer.node.count_subscribers(f"{peer.namespace}/image") == 1
    assert "Traceback" not in peer.process.output()


@pytest.mark.slow
def test_a_foreign_network_drives_the_node_as_any_other(
    start_node: StartNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = [(0, (4, 4, 24, 28)), (1, (68, 40, 92, 60)), (1, (224, 96, 256, 128))]
    monkeypatch.setattr("rtseg.lab.deploy.foreign.import_model._picture", lambda *_: paint_objects(scene))
    model, ignore = tmp_path / "yolo", tmp_path / "bonnet.yaml"
    import_model(write_yolo(tmp_path / "yolo.onnx", half=True, batch="batch", names=True), "yolo-seg", model)
    ignore.write_text("polygons: [[[0.0, 0.7], [1.0, 0.7], [1.0, 1.0], [0.0, 1.0]]]")
    offline = rtseg.load(model, ignore=ignore)
    offline.warm_up()
    peer = start_node(executable="instances", model=str(model), ignore=str(ignore))
    ids, classes = peer.listen(Image, "instance_mask"), peer.listen(Image, "class_mask")
    peer.wait_until_listening()
    for number in range(3):
        stamp = 5 * SECOND + number * 100_000_000
        image = np.roll(paint_objects(scene), 2 * number, axis=1)
        expected = offline(Frame(image, stamp))
        assert len(expected) == 2
        got = peer.exchange(image, stamp, ids)
        np.testing.assert_array_equal(_ids_of(got), _expected(expected, expected.ids))
    peer.spin_until(lambda: len(classes) == 3, "not every topic")
    np.testing.assert_array_equal(mask_of(classes[-1]), _expected(expected, 1 + expected.class_ids))


def test_surfaces_are_told_to_costmaps(
    start_node: StartNode, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = [(0, (96, 80, 128, 112)), (1, (224, 96, 256, 128))]
    monkeypatch.setattr("rtseg.lab.deploy.foreign.import_model._picture", lambda *_: paint_objects(scene))
    surfaces = tmp_path / "surfaces"
    answers = Answers(
        classes=SURFACES, normalization=NORMALIZATIONS["zero-one"], order="rgb", things=("person", "car"),
        drivable=("road",),
    )  # fmt: skip
    import_model(write_semantic(tmp_path / "semantic.onnx"), "semantic", surfaces, answers)
    offline = rtseg.load(surfaces)
    offline.warm_up()
    camera = Camera(256, 128, np.array([[200.0, 0, 128], [0, 200, 30], [0, 0, 1]]), np.zeros(5), Mount(1.4, 0.02))
    camera.save(tmp_path / "camera.yaml")
    peer = start_node(
        executable="perception", model="", lanes_model=str(model), instances_model=str(surfaces),
        camera=str(tmp_path / "camera.yaml"), vehicle_frame="car",
    )  # fmt: skip
    sensor = qos(50, reliable=False)  # as the layer subscribes
    clouds = peer.listen(PointCloud2, "/instances/ground/points", sensor)
    masks, sure = (peer.listen(Image, f"/instances/ground/{topic}", sensor) for topic in ("mask", "confidence"))
    told = peer.listen(messages.LABEL_INFO_TYPE, "/instances/ground/label_info", qos(5, latched=True))
    free, lines = peer.listen(OccupancyGrid, "/instances/free_space"), peer.listen(OccupancyGrid, "/lanes/lane_grid")
    peer.wait_until_listening()
    image = paint_objects(scene)
    image[60:, 40:48] = (0, 0, 255)  # a lane line, which for this network is a person
    everything = (clouds, masks, sure, told, free, lines)
    peer.insist(lambda: peer.publish(image, SECOND), lambda: all(everything), LOST, "not every topic")

    frame = Frame(image, SECOND)
    found, lanes = offline(frame), rtseg.load(model)(frame)
    card = offline.card
    ground = Ground(GroundPlane(camera))
    kinds = surface_kinds(found, surfaces_of(card), ground)
    assert clouds[0].header == free[0].header == lines[0].header == header(SECOND, "car")
    assert masks[0].header == sure[0].header == header(SECOND)
    assert (clouds[0].height, clouds[0].width) == (masks[0].height, masks[0].width) == (128, 256)
    assert bytes(clouds[0].data) == ground.seen(kinds).tobytes()
    np.testing.assert_array_equal(mask_of(masks[0]), surface_mask(found).pixels)
    np.testing.assert_array_equal(mask_of(sure[0]), surface_confidence(found).pixels)
    grid = ground.free_space(kinds)
    assert {0, 100, -1} == set(free[0].data)
    assert bytes(free[0].data) == grid.cells.tobytes()
    assert bytes(lines[0].data) == lane_grid(ground_lines(lanes, GroundPlane(camera)), grid).cells.tobytes()
    assert bytes(lines[0].data) != grid.cells.tobytes()
    if messages.LABEL_INFO_TYPE is String:
        names = {each["class_id"]: each["class_name"] for each in json.loads(told[0].data)["class_map"]}
    else:
        names = {each.class_id: each.class_name for each in told[0].class_map}
    assert names == class_labels(card.classes)
