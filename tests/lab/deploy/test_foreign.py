"""Foreign networks imported, and then used as any other model: no command treats them apart."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import rtseg
from rtseg.cli import app
from rtseg.errors import ConfigError, ModelError, RtsegError
from rtseg.lab.deploy.calibrate import calibrate_int8
from rtseg.lab.deploy.foreign.answers import NORMALIZATIONS, Answers, read_classes, read_normalization, read_size
from rtseg.lab.deploy.foreign.import_model import import_model
from rtseg.lab.deploy.network_files import FLOAT
from rtseg.runtime.card import ModelCard, sha256_of
from rtseg.runtime.models import find_model
from tests.foreign_networks import (
    HEIGHT,
    OBJECTS,
    SURFACES,
    WIDTH,
    paint_lines,
    paint_objects,
    turn_ends,
    write_lane_map,
    write_row_anchors,
    write_semantic,
    write_yolo,
)
from tests.instance_networks import write_gtfine_frame

UNIT = NORMALIZATIONS["zero-one"]
SCENE = [(0, (4, 4, 24, 28)), (1, (70, 40, 90, 60)), (0, (100, 70, 124, 92)), (1, (224, 96, 256, 128))]
SEEN = Answers(normalization=UNIT, order="rgb")


def semantic_answers(**more: object) -> Answers:
    chosen = {"classes": SURFACES, "things": ("person", "car"), "drivable": ("road",), **more}
    return Answers(normalization=UNIT, order="rgb", **chosen)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def cheap_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A painted picture in place of the rendered one, which takes a second; one test renders it."""
    if "rendered" not in request.node.name:
        monkeypatch.setattr("rtseg.lab.deploy.foreign.import_model._picture", lambda *_: paint_objects(SCENE))


# -- layouts


@pytest.mark.parametrize("layout", ["classes", "objectness", "selected"])
@pytest.mark.parametrize("upright", [True, False])
def test_every_yolo_layout_is_recognized(tmp_path: Path, layout: str, upright: bool) -> None:
    path = write_yolo(tmp_path / "net.onnx", layout, upright, names=True)
    made = import_model(path, "yolo-seg", tmp_path / "model")
    assert made.card.grouping.parameters["layout"] == layout
    assert made.card.classes == OBJECTS
    assert made.card.licence == "a license"
    assert made.card.input.fit == "letterbox"
    pipeline = rtseg.load(tmp_path / "model")
    for scale in (1, 3):
        found = pipeline(paint_objects(SCENE, scale))
        assert found.class_ids.tolist() == [kind for kind, _ in SCENE]
        np.testing.assert_allclose(found.boxes, scale * np.array([box for _, box in SCENE]), atol=scale)


@pytest.mark.parametrize("output", ["logits", "softmax", "argmax"])
@pytest.mark.parametrize("stride", [1, 4])
def test_every_semantic_output_is_recognized(tmp_path: Path, output: str, stride: int) -> None:
    path = write_semantic(tmp_path / "net.onnx", output, stride)
    made = import_model(path, "semantic", tmp_path / "model", semantic_answers())
    assert made.card.outputs[0].kind == ("class_ids" if output == "argmax" else "class_scores")
    found = rtseg.load(tmp_path / "model")(paint_objects(SCENE, 2))
    assert sorted(found.class_ids.tolist()) == [0, 1, 1, 2, 2]
    truth = (paint_objects(SCENE, 2) == 10).all(axis=2)
    assert (found.drivable == truth).mean() > 0.98


@pytest.mark.parametrize("output", ["lanes", "sigmoid", "binary", "ids"])
def test_every_lane_map_is_recognized(tmp_path: Path, output: str) -> None:
    path = write_lane_map(tmp_path / "net.onnx", output)
    background = {"lanes": True, "sigmoid": False}.get(output)
    import_model(path, "lane-map", tmp_path / "model", Answers(normalization=UNIT, order="rgb", background=background))
    _check_lines(rtseg.load(tmp_path / "model"), 1.0)


@pytest.mark.parametrize("version", [1, 2])
def test_both_row_anchor_versions_are_recognized(tmp_path: Path, version: int) -> None:
    # Rows of the network are 8 pixels high, and its cells as wide as a 32nd of the width, not a 31st.
    path = write_row_anchors(tmp_path / "net.onnx", version)
    answers = Answers(normalization=UNIT, order="rgb", anchors="0.03125, 0.96875", top=0.0)
    import_model(path, "row-anchor", tmp_path / "model", answers)
    _check_lines(rtseg.load(tmp_path / "model"), 32 / 31)


def _check_lines(pipeline: rtseg.Pipeline, stretch: float) -> None:
    image, lines = paint_lines(3)
    found = pipeline(image)
    assert len(found) == 2
    for line, (upper, lower, top) in zip(found.polylines, lines, strict=True):
        rows = line[(line[:, 1] > 150) & (line[:, 1] < 350)]
        true = upper + (lower - upper) * (rows[:, 1] - top) / (len(image) - 1 - top)
        assert np.abs(rows[:, 0] / stretch - true).max() < 12  # half a cell


def test_anchors_of_the_papers_data_sets(tmp_path: Path) -> None:
    for version, rows, top in ((1, (64 / 288, 284 / 288), 0.0), (2, (160 / 720, 710 / 720), 0.2)):
        path = write_row_anchors(tmp_path / f"net{version}.onnx", version)
        answers = Answers(normalization=UNIT, order="rgb", anchors="tusimple")
        card = import_model(path, "row-anchor", tmp_path / f"model{version}", answers).card
        assert tuple(card.grouping.parameters["rows"]) == rows
        assert card.input.top == top


@pytest.mark.parametrize("layout", ["classes", "objectness", "selected"])
def test_the_layout_of_a_network_that_finds_nothing_is_recognized(tmp_path: Path, layout: str) -> None:
    # Its scores are zeros, which are whole numbers as those of classes are.
    made = import_model(
        write_yolo(tmp_path / "n.onnx", layout, names=True, silent=True), "yolo-seg", tmp_path / "model"
    )
    assert made.card.grouping.parameters["layout"] == layout
    assert len(made.result) == 0


@pytest.mark.parametrize("text", ["{0: 'person', 1: 'car'}", '{"1": "car", "0": "person"}', '["person", "car"]'])
def test_names_are_read_as_exporters_write_them(tmp_path: Path, text: str) -> None:
    for path in (write_yolo(tmp_path / "yolo.onnx"), write_semantic(tmp_path / "semantic.onnx")):
        model = onnx.load(path)
        names = text.replace("]", ', "road"]').replace("}", ", 2: 'road'}") if "semantic" in path.name else text
        model.metadata_props.append(onnx.StringStringEntryProto(key="names", value=names))
        onnx.save(model, path)
        family, answers = ("yolo-seg", Answers()) if "yolo" in path.name else ("semantic", SEEN)
        assert import_model(path, family, tmp_path / path.stem, answers).card.classes[:2] == OBJECTS


# -- what is fixed in the file


def test_open_batches_and_half_precision_are_fixed_at_import(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "net.onnx", half=True, batch="batch", names=True)
    import_model(path, "yolo-seg", tmp_path / "model")
    graph = onnx.load(tmp_path / "model" / "model.onnx").graph
    for tensor in (*graph.input, *graph.output):
        assert tensor.type.tensor_type.elem_type == TensorProto.FLOAT
        assert all(side.dim_value > 0 for side in tensor.type.tensor_type.shape.dim)
    for backend in ("onnxruntime", "openvino"):  # the latter drops casts that undo each other, and with them names
        if backend == "openvino":
            pytest.importorskip("openvino", reason="openvino is not installed (the extra `openvino`)")
        assert len(rtseg.load(tmp_path / "model", backend=backend)(paint_objects(SCENE))) == len(SCENE)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("of_bytes", [False, True])
@pytest.mark.parametrize("family", ["yolo-seg", "semantic", "row-anchor", "lane-map"])
def test_bytes_and_channels_last_find_the_same(tmp_path: Path, family, of_bytes: bool, channels_last: bool) -> None:
    path, answers, ends_last = tmp_path / "net.onnx", SEEN, False
    if family == "yolo-seg":
        write_yolo(path, names=True)
        answers, ends_last = Answers(), channels_last
    elif family == "semantic":
        write_semantic(path)
        answers, ends_last = semantic_answers(), channels_last
    elif family == "row-anchor":
        write_row_anchors(path)
        answers = replace(SEEN, anchors="0.03125, 0.96875", top=0.0)
    else:
        write_lane_map(path)
        answers, ends_last = replace(SEEN, background=True), channels_last
    import_model(path, family, tmp_path / "plain", answers)
    turn_ends(path, of_bytes, channels_last, ends_last)
    if of_bytes and answers.normalization:
        with pytest.raises(ConfigError, match="takes bytes and normalizes them by itself; leave out --normalize"):
            import_model(path, family, tmp_path / "model", answers)
        answers = replace(answers, normalization=None)
    card = import_model(path, family, tmp_path / "model", answers).card
    assert (card.input.height, card.input.width) == (HEIGHT, WIDTH)
    image = paint_lines(1)[0] if card.task == "lanes" else paint_objects(SCENE)
    found, plain = (rtseg.load(tmp_path / name)(image) for name in ("model", "plain"))
    assert len(plain) == (2 if card.task == "lanes" else 5 if family == "semantic" else len(SCENE))
    for name in ("mask",) if card.task == "lanes" else ("labels", "class_ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


def test_open_sides_are_asked_for(tmp_path: Path) -> None:
    path = write_lane_map(tmp_path / "net.onnx", "binary")
    model = onnx.load(path)
    for side, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], ("h", "w"), strict=True):
        side.dim_param = name
    for side, name in zip(model.graph.output[0].type.tensor_type.shape.dim[2:], ("a", "b"), strict=True):
        side.dim_param = name
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"leaves the size .*--size"):
        import_model(path, "lane-map", tmp_path / "model", SEEN)
    card = import_model(path, "lane-map", tmp_path / "model", SEEN, size=(96, 160)).card
    assert (card.input.width, card.input.height) == (160, 96)
    assert card.outputs[0].shape == (1, 1, 24, 40)
    with pytest.raises(ModelError, match="256x128, got --size 160x96"):
        import_model(write_lane_map(path, "binary"), "lane-map", tmp_path / "other", SEEN, size=(96, 160))


def test_outputs_that_nobody_reads_are_dropped_with_what_makes_them(tmp_path: Path) -> None:
    path = write_semantic(tmp_path / "net.onnx")
    model = onnx.load(path)
    weight = numpy_helper.from_array(np.ones((9, 3, 8, 8), np.float32), "auxiliary.weight")
    model.graph.initializer.append(weight)
    model.graph.node.append(helper.make_node("Conv", ["images", "auxiliary.weight"], ["auxiliary"], strides=[8, 8]))
    model.graph.output.append(helper.make_tensor_value_info("auxiliary", TensorProto.FLOAT, [1, 9, 16, 32]))
    onnx.save(model, path)
    import_model(path, "semantic", tmp_path / "model", semantic_answers())
    kept = onnx.load(tmp_path / "model" / "model.onnx").graph
    assert [output.name for output in kept.output] == ["seg"]
    assert "auxiliary.weight" not in {tensor.name for tensor in kept.initializer}


def test_weights_in_other_files_come_into_one(tmp_path: Path) -> None:
    path = write_semantic(tmp_path / "net.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    import_model(path, "semantic", tmp_path / "model", semantic_answers())
    assert len(rtseg.load(tmp_path / "model")(paint_objects(SCENE))) == 5


# -- what is asked for, and what is refused


def test_all_that_is_missing_is_asked_for_at_once(tmp_path: Path) -> None:
    path = write_semantic(tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match=r"net.onnx does not say .*--classes .*--normalize .*--order"):
        import_model(path, "semantic", tmp_path / "model")
    with pytest.raises(ConfigError, match=r"--normalize .*--order .*--background"):
        import_model(write_lane_map(tmp_path / "lanes.onnx"), "lane-map", tmp_path / "model")
    with pytest.raises(ConfigError, match=r"--normalize .*--order .*--anchors"):
        import_model(write_row_anchors(tmp_path / "rows.onnx"), "row-anchor", tmp_path / "model")
    with pytest.raises(ConfigError, match=r"give --classes"):
        import_model(write_yolo(tmp_path / "yolo.onnx"), "yolo-seg", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("family", "answers", "message"),
    [
        ("yolo-seg", Answers(classes=("a", "b", "c", "d", "e")), "expected one table"),
        ("yolo-seg", Answers(things=("person",)), "--things is not for networks imported as yolo-seg"),
        ("semantic", semantic_answers(), "expected a channel for each of 3 classes"),
        (
            "semantic",
            semantic_answers(classes=OBJECTS, things=("tree",)),
            "things: expected classes out of person, car",
        ),
        ("row-anchor", Answers(normalization=UNIT, order="rgb", anchors="tusimple"), "expected an output"),
        ("row-anchor", Answers(normalization=UNIT, order="rgb", anchors="0.9,0.1"), "expected"),
        ("lane-map", Answers(normalization=((0, 0, 0), (0, 1, 1)), order="rgb", background=True), "deviations above 0"),
    ],
)
def test_what_does_not_fit_is_one_sentence_at_import(tmp_path: Path, family, answers, message: str) -> None:
    path = write_yolo(tmp_path / "net.onnx", names=True, prototypes=2 if "out of person" in message else 4)
    with pytest.raises(RtsegError, match=message) as told:
        import_model(path, family, tmp_path / "model", answers)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "model").exists()


def test_classes_that_were_not_named_are_told_though_the_layout_is_given(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "net.onnx", layout="selected", names=True)
    with pytest.raises(ModelError, match="the numbers of 1 classes, got 0 to 1; name every class with --classes"):
        import_model(path, "yolo-seg", tmp_path / "model", Answers(classes=("person",), layout="selected"))
    assert not (tmp_path / "model").exists()


def test_scores_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "net.onnx", names=True)
    model = onnx.load(path)
    (clip,) = [node for node in model.graph.node if node.op_type == "Clip"]
    clip.op_type, clip.input[:] = "Log", clip.input[:1]  # of what is negative, as where a square root went wrong
    onnx.save(model, path)
    with pytest.raises(ModelError, match="finite scores in output0"):
        import_model(path, "yolo-seg", tmp_path / "model")


def test_scores_without_a_sigmoid_are_told(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "net.onnx", sigmoid=False, names=True)
    with pytest.raises(ModelError, match="scores of 0 to 1"):
        import_model(path, "yolo-seg", tmp_path / "model")


def _one_node(
    path: Path, node: onnx.NodeProto, sides: list, output: tuple[int, list], kind: int = TensorProto.FLOAT
) -> Path:
    graph = helper.make_graph(
        [node],
        "odd",
        [helper.make_tensor_value_info("x", kind, sides)],
        [helper.make_tensor_value_info("y", *output)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    "case",
    [
        "bytes",
        "channels",
        "batch",
        "int32",
        "varying",
        "text",
        "cut",
        "missing",
        "folder",
        "empty",
        "newer",
        "own",
    ],
)
def test_files_that_are_no_such_network_are_told(tmp_path: Path, case: str) -> None:
    path, copy = tmp_path / "net.onnx", helper.make_node("Identity", ["x"], ["y"])
    if case == "bytes":
        path.write_bytes(b"not a network")
    elif case == "cut":
        path.write_bytes(write_yolo(tmp_path / "whole.onnx").read_bytes()[:-700])
    elif case == "channels":
        _one_node(path, copy, [1, 4, 64, 64], (TensorProto.FLOAT, [1, 4, 64, 64]))
    elif case == "batch":
        _one_node(path, copy, [8, 3, 64, 64], (TensorProto.FLOAT, [8, 3, 64, 64]))
    elif case == "int32":
        _one_node(path, copy, [1, 3, 64, 64], (TensorProto.INT32, [1, 3, 64, 64]), TensorProto.INT32)
    elif case == "varying":
        _one_node(path, helper.make_node("NonZero", ["x"], ["y"]), [1, 3, 8, 8], (TensorProto.INT64, [4, "n"]))
        model = onnx.load(path)
        model.graph.node[0].input[0] = "c"
        compare = helper.make_node("Greater", ["x", "limit"], ["c"])
        model.graph.node.insert(0, compare)
        model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "limit"))
        onnx.save(model, path)
    elif case == "text":
        _one_node(
            path,
            helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING),
            [1, 3, 8, 8],
            (TensorProto.STRING, [1, 3, 8, 8]),
        )
    elif case == "folder":
        path.mkdir()
    elif case == "empty":
        path.touch()
    elif case in ("newer", "own"):
        model = onnx.load(write_lane_map(path))
        model.ir_version = 99 if case == "newer" else model.ir_version
        model.graph.node[0].op_type = "Mine" if case == "own" else model.graph.node[0].op_type
        onnx.save(model, path)
    message = {
        "folder": "cannot be read",
        "missing": "cannot be read",
        "empty": "empty file",
        "newer": r"pixels: Unsupported model IR version: 99.*older opset",
        "own": "without operators of its own",
        "channels": "one picture of 3 channels",
        "batch": "a batch of 1",
        "int32": "float32, float16 or uint8",
        "varying": "fixed number of detections",
        "text": "arrays of numbers",
    }.get(case, "expected an ONNX network")
    with pytest.raises(ModelError, match=message):
        import_model(path, "lane-map", tmp_path / "model", Answers(normalization=UNIT, order="rgb", background=True))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", "PyTorch"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        (b"ftrt", "TensorRT engine"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_files_that_people_take_for_one_are_told_by_name(tmp_path: Path, start: bytes, message: str) -> None:
    (tmp_path / "net.onnx").write_bytes(start + bytes(100))
    with pytest.raises(ModelError, match=message):
        import_model(tmp_path / "net.onnx", "lane-map", tmp_path / "model", SEEN)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "pipe"])
def test_a_pipe_or_a_device_is_not_read(tmp_path: Path, device: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="got a pipe or a device; write the network to a file first"):
        import_model(tmp_path / device, "lane-map", tmp_path / "model", SEEN)


def test_weights_that_were_left_behind_are_named(tmp_path: Path) -> None:
    path = write_semantic(tmp_path / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights beside it \(weights\.bin\).*one folder"):
        import_model(path, "semantic", tmp_path / "model", semantic_answers())


def test_an_input_without_a_shape_has_open_sides(tmp_path: Path) -> None:
    path = write_semantic(tmp_path / "net.onnx")
    model = onnx.load(path)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    with pytest.raises(ModelError, match="--size"):
        import_model(path, "semantic", tmp_path / "model", semantic_answers())
    import_model(path, "semantic", tmp_path / "model", semantic_answers(), size=(HEIGHT, WIDTH))
    assert len(rtseg.load(tmp_path / "model")(paint_objects(SCENE))) == 5


def test_of_several_maps_one_is_chosen(tmp_path: Path) -> None:
    path = write_semantic(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("ArgMax", ["seg"], ["lines"], axis=1, keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("lines", TensorProto.INT64, [1, 32, 64]))
    onnx.save(model, path)
    with pytest.raises(ConfigError, match=r"seg \(1, 3, 32, 64\), lines.*--output"):
        import_model(path, "semantic", tmp_path / "model", semantic_answers())
    with pytest.raises(ConfigError, match=r"--output to name one of seg"):
        import_model(path, "semantic", tmp_path / "model", semantic_answers(output="segm"))
    for output, kind in (("seg", "class_scores"), ("lines", "class_ids")):
        made = import_model(path, "semantic", tmp_path / output, semantic_answers(output=output))
        assert [each.kind for each in made.card.outputs] == [kind]


def test_cells_and_their_existence_belong_together_by_how_many_they_are(tmp_path: Path) -> None:
    path = write_row_anchors(tmp_path / "net.onnx", 2)
    model = onnx.load(path)
    names = {"loc_row": "a", "loc_col": "b", "exist_row": "c", "exist_col": "d"}
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in model.graph.output:
        tensor.name = names[tensor.name]
    outputs = {tensor.name: type(tensor).FromString(tensor.SerializeToString()) for tensor in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(outputs[name] for name in "abdc")
    onnx.save(model, path)
    answers = Answers(normalization=UNIT, order="rgb", anchors="0.03125, 0.96875", top=0.0)
    import_model(path, "row-anchor", tmp_path / "model", answers)
    _check_lines(rtseg.load(tmp_path / "model"), 32 / 31)


def test_another_model_is_never_written_over(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "net.onnx", names=True)
    import_model(path, "yolo-seg", tmp_path / "model")
    import_model(path, "yolo-seg", tmp_path / "model")  # the same once more
    other = write_semantic(tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="holds the model model"):
        import_model(other, "semantic", tmp_path / "model", semantic_answers())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(ModelError, match="expected a new folder"):
        import_model(path, "yolo-seg", tmp_path / "notes")


def test_answers_are_read(tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    listed.write_text("\ufeffroad\r\ncar\r\n\r\n", encoding="utf-8", newline="")
    named = tmp_path / "data.yaml"
    named.write_text("names: {0: road, 1: car}\n")
    assert read_classes("road, car") == read_classes(str(listed)) == read_classes(str(named)) == ("road", "car")
    assert len(read_classes("cityscapes")) == 19
    for wrong in ("a,a", "", "a,,b", "names.txt", "no/names"):
        with pytest.raises(ConfigError, match="classes"):
            read_classes(wrong)
    assert read_normalization("1 2 3, 4 5 6") == ((1, 2, 3), (4, 5, 6))
    assert read_size("640x384") == (384, 640)
    for wrong in ("640", "0x4", "axb"):
        with pytest.raises(ConfigError, match="WIDTHxHEIGHT"):
            read_size(wrong)
    with pytest.raises(ConfigError, match="--normalize"):
        read_normalization("half")


def test_a_normalization_by_name_follows_the_order_of_colors(tmp_path: Path) -> None:
    answers = Answers(normalization=NORMALIZATIONS["imagenet"], order="bgr")
    card = import_model(write_lane_map(tmp_path / "n.onnx", "binary"), "lane-map", tmp_path / "model", answers).card
    assert card.input.mean == NORMALIZATIONS["imagenet"][0][::-1]


# -- used as any other


def test_the_command_writes_card_network_and_picture(tmp_path: Path) -> None:
    path, picture = write_yolo(tmp_path / "net.onnx", names=True), tmp_path / "street.png"
    cv2.imwrite(str(picture), paint_objects(SCENE, 2))
    out = tmp_path / "my-model"
    done = CliRunner().invoke(
        app,
        ["import", str(path), "--as", "yolo-seg", "--out", str(out), "--picture", str(picture), "--license", "mine"],
    )
    assert done.exit_code == 0, done.output
    assert "4 objects" in done.output
    card = ModelCard.load(out / "card.yaml")
    assert (card.name, card.licence, card.model.sha256) == ("my-model", "mine", sha256_of(out / "model.onnx"))
    overlay = cv2.imread(str(out / "overlay.jpg"))
    assert overlay.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert np.abs(overlay.astype(int) - paint_objects(SCENE, 2)).max() > 60
    assert find_model(out).card == card


@pytest.mark.slow
@pytest.mark.parametrize("task", ["objects", "surfaces", "lanes", "anchors"])
def test_models_run_and_are_replayed(tmp_path: Path, task: str) -> None:
    model, frames = tmp_path / "model", tmp_path / "frames"
    frames.mkdir()
    for i in range(3):
        image = paint_objects(SCENE, 2) if task in ("objects", "surfaces") else paint_lines(2)[0]
        cv2.imwrite(str(frames / f"{i}.png"), np.roll(image, 2 * i, axis=1))
    if task == "objects":
        import_model(write_yolo(tmp_path / "n.onnx", names=True), "yolo-seg", model)
    elif task == "surfaces":
        import_model(write_semantic(tmp_path / "n.onnx"), "semantic", model, semantic_answers())
    elif task == "lanes":
        import_model(write_lane_map(tmp_path / "n.onnx", "binary"), "lane-map", model, SEEN)
    else:
        answers = Answers(normalization=UNIT, order="rgb", anchors="0.03125,0.96875", top=0.0)
        import_model(write_row_anchors(tmp_path / "n.onnx", 2), "row-anchor", model, answers)
    for command in (["run", str(frames)], ["replay", str(frames), "--fps", "10"]):
        done = CliRunner().invoke(app, [*command, "--model", str(model), "--out", str(tmp_path / command[0])])
        assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "run").rglob("*.jpg"))) == 3
    assert (tmp_path / "replay" / "report.html").is_file()


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Frames of a held-out city, which the labels have at half the size of the network's input."""
    pytest.importorskip("cityscapesscripts", reason="cityscapesscripts is not installed (the extra `scores`)")
    pytest.importorskip("pycocotools", reason="pycocotools is not installed (the extra `scores`)")
    for number in range(2):
        write_gtfine_frame(
            tmp_path / "street", "aachen", number, [(0, 0, (2, 2, 14, 14)), (1, 0, (34, 18, 46, 30))][number:]
        )
    return tmp_path / "street"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["yolo-seg", "semantic"])
def test_objects_are_scored_and_quantized_with_the_gate(tmp_path: Path, street: Path, family: str) -> None:
    if family == "yolo-seg":
        import_model(write_yolo(tmp_path / "n.onnx", names=True), "yolo-seg", tmp_path / "model")
    else:
        answers = semantic_answers(ignored=("road",), drivable=())
        import_model(write_semantic(tmp_path / "n.onnx", stride=1), "semantic", tmp_path / "model", answers)
    done = CliRunner().invoke(
        app, ["evaluate", "--model", str(tmp_path / "model"), "--data", str(street), "--out", str(tmp_path / "scores")]
    )
    assert done.exit_code == 0, done.output
    frames = street / "leftImg8bit" / "val" / "aachen"
    result = calibrate_int8(tmp_path / "model", [frames], tmp_path / "int8", evaluation=street, recipes=tmp_path / "r")
    assert result.values[FLOAT] > 0.6
    assert all(loss <= 0.5 for loss in result.losses.values())
    assert len(rtseg.load(tmp_path / "int8", backend="onnxruntime")(paint_objects(SCENE))) == len(SCENE)


@pytest.mark.slow
@pytest.mark.parametrize("taking", ["float32", "float16", "bytes"])
def test_an_engine_is_compiled(tmp_path: Path, taking: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (the extra `tensorrt`)")
    from rtseg.runtime.tensorrt import compile_model

    path = write_yolo(tmp_path / "n.onnx", names=True, half=taking == "float16")
    if taking == "bytes":
        turn_ends(path, of_bytes=True)
    import_model(path, "yolo-seg", tmp_path / "model")
    engine, record = compile_model(find_model(tmp_path / "model"), "fp16", "sm89", folder=tmp_path / "cache")
    assert engine.is_file()
    assert {tensor.shape for tensor in record.tensors if tensor.mode == "output"} == {(1, 10, 32), (1, 4, 32, 64)}


@pytest.mark.slow
def test_a_rendered_picture_is_the_default(tmp_path: Path) -> None:
    made = import_model(write_lane_map(tmp_path / "n.onnx", "binary"), "lane-map", tmp_path / "model", SEEN)
    assert cv2.imread(str(made.overlay)).shape == (360, 640, 3)


@pytest.mark.slow
def test_no_plain_peer_is_timed_that_reads_the_outputs_as_what_they_are_not(tmp_path: Path) -> None:
    from rtseg.lab.bench.run import BenchSettings, bench_model

    import_model(write_yolo(tmp_path / "n.onnx", names=True), "yolo-seg", tmp_path / "model")
    run = bench_model(str(tmp_path / "model"), BenchSettings((96, 160), 10, compare=True, threads=1)).runs[0]
    assert all(peer.reason for peer in run.peers)
    assert "strongest channel" in (run.peers[0].reason or "")
