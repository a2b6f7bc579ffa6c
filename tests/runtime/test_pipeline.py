from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import onnx
import pytest

import rtseg
from rtseg.camera import health
from rtseg.errors import BackendError, ImageError, ModelError
from rtseg.frame import Frame
from rtseg.loading import load
from rtseg.runtime.backends import available_backends, create_backend, registry
from rtseg.runtime.card import ModelCard, sha256_of
from rtseg.runtime.models import find_model

BACKENDS = ["onnxruntime", "openvino"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_lines_are_found_where_they_were_drawn(model_folder, road, backend):
    lanes = load(model_folder(), backend=backend)(road)
    assert len(lanes) == 2
    rows = np.array([60.0, 90.0, 120.0])
    expected = np.stack([70 - (rows - 40) / 3, 180 + (rows - 40) / 3])
    np.testing.assert_allclose(lanes.sample(rows), expected, atol=3.0)
    assert set(np.unique(lanes.mask)) == {0, *lanes.ids}


def test_backends_agree(model_folder, road):
    folder = model_folder()
    masks = [load(folder, backend=backend)(road).mask for backend in BACKENDS]
    np.testing.assert_array_equal(*masks)


def test_the_card_says_the_channel_order(model_folder, card_content, road):
    rgb = load(model_folder())(road)
    swapped = load(model_folder(input={**card_content["input"], "order": "bgr"}))(road[:, :, ::-1])
    np.testing.assert_array_equal(rgb.mask, swapped.mask)


def test_the_result_carries_stamp_frame_and_times(model_folder, road):
    lanes = load(model_folder())(Frame(road, stamp=123, frame_id="front"))
    assert (lanes.stamp, lanes.frame_id) == (123, "front")
    assert list(lanes.times) == ["preprocess", "infer", "group", "decode", "track", "markings"]
    assert all(value >= 0 for value in lanes.times.values())


def test_ids_stay_with_their_lines_and_reset_forgets(model_folder, road):
    pipeline = load(model_folder())
    first = pipeline(Frame(road, stamp=0))
    second = pipeline(Frame(np.roll(road, 3, axis=1), stamp=33_000_000))
    np.testing.assert_array_equal(first.ids, second.ids)
    pipeline.reset()
    again = pipeline(Frame(road, stamp=0))
    np.testing.assert_array_equal(again.mask, first.mask)


def test_a_stream_gives_what_single_calls_give(model_folder, road):
    frames = [Frame(np.roll(road, shift, axis=1), stamp=shift * 33_000_000) for shift in range(7)]
    pipeline = load(model_folder())
    single = [pipeline(frame) for frame in frames]
    pipeline.reset()
    streamed = list(pipeline.stream(iter(frames)))
    assert [lanes.stamp for lanes in streamed] == [frame.stamp for frame in frames]
    for one, other in zip(single, streamed, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_array_equal(one.ids, other.ids)
    assert list(pipeline.stream([])) == []


def test_two_cameras_in_one_process_do_not_touch_each_other(model_folder, road):
    """A pipeline each, frames in turn: ids, scenes and the camera's health are those that each camera has alone."""
    moving = [Frame(np.roll(road, 4 * i, axis=1), stamp=i * 100_000_000, frame_id="front") for i in range(12)]
    frozen = [Frame(road[:, ::-1].copy(), stamp=7 + i * 900_000_000, frame_id="rear") for i in range(12)]

    def seen(lanes):
        return (
            lanes.frame_id,
            lanes.ids.tolist(),
            lanes.confidence.tolist(),
            lanes.degraded,
            lanes.moving,
            lanes.restart,
        )

    alone = []
    for frames in (moving, frozen):
        pipeline = load(model_folder())
        alone.append([seen(pipeline(frame)) for frame in frames])
    front, rear = load(model_folder()), load(model_folder())
    together = [(seen(front(a)), seen(rear(b))) for a, b in zip(moving, frozen, strict=True)]
    assert [list(each) for each in zip(*together, strict=True)] == alone
    assert alone[1][-1][3] == ("frozen",)
    assert alone[0][-1][3] == ()


@pytest.mark.parametrize(("backend", "held"), [("onnxruntime", "_session"), ("openvino", "_network")])
def test_cameras_in_one_process_run_one_open_network(model_folder, road, backend, held):
    folder = model_folder()
    expected = [load(folder, device="cpu", backend=backend)(np.roll(road, 4 * i, axis=1)).mask for i in range(8)]
    cameras = [load(folder, device="cpu", backend=backend) for _ in range(3)]
    networks = {id(getattr(each._path._backend, held)) for each in cameras}
    assert len(networks) == 1
    other = load(folder, device="cpu", backend=backend, threads=3)
    assert getattr(other._path._backend, held) is not getattr(cameras[0]._path._backend, held)
    cameras.pop().close()  # which takes nothing from the others
    with ThreadPoolExecutor(2) as executor:
        found = executor.map(lambda each: [each(np.roll(road, 4 * i, axis=1)).mask for i in range(8)], cameras)
        for masks in found:
            np.testing.assert_array_equal(masks, expected)
    network = weakref.ref(getattr(cameras[0]._path._backend, held))
    for each in cameras:
        each.close()
    assert network() is None, "it is given back with the last camera"


def test_models_of_one_camera_look_at_its_pictures_once(model_folder, road, monkeypatch):
    looked, measure = [], health.measure

    def counted(*pictures):
        looked.append(pictures)
        return measure(*pictures)

    monkeypatch.setattr(health, "measure", counted)
    frames = [Frame(road, stamp=i * 200_000_000) for i in range(8)]
    alone = load(model_folder())
    expected = [alone(frame).degraded for frame in frames]
    assert len(looked) == 8
    first, second = load(model_folder()), load(model_folder())
    second.share_camera(first)
    looked.clear()
    assert [(first(frame).degraded, second(frame).degraded) for frame in frames] == [(each, each) for each in expected]
    assert len(looked) == 8
    assert expected[-1] == ()


def test_a_bad_frame_in_a_stream_is_a_typed_error_and_the_pipeline_goes_on(model_folder, road):
    pipeline = load(model_folder())
    with pytest.raises(ImageError):
        list(pipeline.stream([Frame(road), Frame(road[:0])]))
    assert len(pipeline(road)) == 2


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((1, 10, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(model_folder, image):
    with pytest.raises(ImageError, match="expected an"):
        load(model_folder())(image)


def test_a_picture_that_opencv_could_not_read_is_told_as_such(model_folder):
    with pytest.raises(ImageError, match=r"got None, as of cv2.imread; check the file's path"):
        load(model_folder())(cv2.imread("no_such_picture.jpg"))


@pytest.mark.parametrize("shape", [(2, 2), (3, 1001), (999, 5), (32, 64)])
def test_any_size_gives_a_mask_of_that_size(model_folder, shape):
    assert load(model_folder())(np.zeros((*shape, 3), np.uint8)).mask.shape == shape


def test_a_view_gives_what_its_copy_gives(model_folder, road):
    wide = np.zeros((144, 300, 3), np.uint8)
    wide[:, 20:276] = road
    pipeline = load(model_folder())
    view = pipeline(wide[:, 20:276]).mask
    pipeline.reset()
    np.testing.assert_array_equal(view, pipeline(road).mask)


def test_a_network_with_other_outputs_than_its_card_is_refused(model_folder):
    with pytest.raises(ModelError, match="logits"):
        load(model_folder(channels=6), backend="onnxruntime")


def test_a_file_that_is_no_network_is_refused(model_folder, card_content):
    folder = model_folder()
    (folder / "model.onnx").write_bytes(b"not a network")
    card_content["model"]["sha256"] = sha256_of(folder / "model.onnx")
    ModelCard.model_validate(card_content).dump(folder / "card.yaml")
    for backend in BACKENDS:
        with pytest.raises(ModelError, match="expected an ONNX network"):
            load(folder, backend=backend)


def test_unknown_backends_devices_and_groupings_are_refused(model_folder):
    folder = model_folder()
    with pytest.raises(BackendError, match="expected a backend of"):
        load(folder, backend="abacus")
    with pytest.raises(BackendError, match="expected device auto, cpu, cuda"):
        load(folder, device="quantum")
    with pytest.raises(ModelError, match=r"grouping\.parameters\.decoder\.no_such_setting"):
        load(model_folder(grouping={"method": "lanes", "parameters": {"decoder": {"no_such_setting": 1}}}))


def test_a_backend_that_breaks_is_left_for_the_next_and_no_frame_is_lost(model_folder, road, monkeypatch):
    from rtseg.runtime.backends.onnx_runtime import OnnxRuntimeBackend

    monkeypatch.setattr(registry, "_has_vnni", lambda: False)
    pipeline = load(model_folder())
    expected = pipeline(road).mask
    pipeline.reset()
    assert pipeline.backend["backend"].startswith("ONNX Runtime")

    def broken(self, tensor):
        raise BackendError("injected: out of memory")

    monkeypatch.setattr(OnnxRuntimeBackend, "infer", broken)
    np.testing.assert_array_equal(pipeline(road).mask, expected)
    assert pipeline.backend["backend"].startswith("OpenVINO")
    assert pipeline.fallbacks == ["injected: out of memory"]


def test_a_session_that_really_fails_on_a_frame_is_left_for_the_next(model_folder, card_content, road, monkeypatch):
    """A table of one entry is read at the index of the brightest value: at 1 ONNX Runtime fails, OpenVINO gives 0."""
    monkeypatch.setattr(registry, "_has_vnni", lambda: False)
    folder = model_folder()
    network = onnx.load(folder / "model.onnx")
    network.graph.node[-1].output[0] = "plain"
    network.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "table"))
    for node in (
        onnx.helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
        onnx.helper.make_node("Cast", ["brightest"], ["index"], to=onnx.TensorProto.INT64),
        onnx.helper.make_node("Gather", ["table", "index"], ["nothing"]),
        onnx.helper.make_node("Add", ["plain", "nothing"], ["logits"]),
    ):
        network.graph.node.append(node)
    onnx.save(network, folder / "model.onnx")
    card_content["model"]["sha256"] = sha256_of(folder / "model.onnx")
    ModelCard.model_validate(card_content).dump(folder / "card.yaml")
    pipeline = load(folder, device="cpu")
    assert len(pipeline(np.zeros_like(road))) == 0
    assert pipeline.backend["backend"].startswith("ONNX Runtime")
    assert len(pipeline(road)) == 2
    assert pipeline.backend["backend"].startswith("OpenVINO")
    assert len(pipeline.fallbacks) == 1
    assert "out of" in pipeline.fallbacks[0]


def test_when_no_backend_is_left_the_error_is_typed(model_folder, road, monkeypatch):
    from rtseg.runtime.backends.onnx_runtime import OnnxRuntimeBackend

    pipeline = load(model_folder(), backend="onnxruntime")

    def broken(self, tensor):
        raise BackendError("injected")

    monkeypatch.setattr(OnnxRuntimeBackend, "infer", broken)
    with pytest.raises(BackendError, match="injected"):
        pipeline(road)


def test_backends_describe_themselves(model_folder):
    model = find_model(model_folder())
    assert sorted(available_backends()) == BACKENDS
    for name in BACKENDS:
        backend = create_backend(name, model.path, model.card, threads=1)
        assert backend.describe()["threads"] == "1"
        backend.close()


def test_the_package_imports_without_the_heavy_parts():
    import subprocess
    import sys

    code = (
        "import sys, rtseg; rtseg.Frame; heavy = {'torch', 'rclpy', 'cupy', 'numba', 'onnxruntime'} & set(sys.modules);"
        "assert not heavy, heavy; rtseg.load;"  # which imports them while it opens the network
        "heavy = {'torch', 'rclpy', 'cupy', 'numba', 'onnxruntime'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    assert rtseg.__version__
