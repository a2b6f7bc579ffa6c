"""Networks and answers that do not fit are one sentence at import, however unusual they are, and leave nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rtseg
from rtseg.errors import ConfigError, ModelError, RtsegError
from rtseg.lab.deploy.foreign.answers import NORMALIZATIONS, Answers, names_in, read_classes
from rtseg.lab.deploy.foreign.families import Family
from rtseg.lab.deploy.foreign.import_model import import_model
from tests.foreign_networks import OBJECTS, SURFACES, Graph, paint_objects, turn_ends, write_semantic, write_yolo

UNIT = NORMALIZATIONS["zero-one"]
SCENE = [(0, (4, 4, 24, 28)), (1, (70, 40, 90, 60))]
SEMANTIC = Answers(classes=SURFACES, normalization=UNIT, order="rgb")
ROWS = Answers(normalization=UNIT, order="rgb", anchors="tusimple")


@pytest.fixture(autouse=True)
def cheap_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A painted picture in place of the rendered one."""
    monkeypatch.setattr("rtseg.lab.deploy.foreign.import_model._picture", lambda *_: paint_objects(SCENE))


def edited(path: Path, change: Callable[[Any], object]) -> Path:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def constant(path: Path, outputs: dict[str, Any], kind: int = TensorProto.FLOAT) -> Path:
    """A network of 64x64 pixels whose outputs are these values, whatever it sees."""
    graph = Graph()
    nothing = graph.add("Mul", graph.add("ReduceMean", "images", keepdims=0), graph.constant(0.0))
    for name, values in outputs.items():
        graph.add("Cast", graph.add("Add", graph.constant(values), nothing), name=name, to=kind)
    made: dict[str, tuple[list[int | str], Any]] = {
        name: (list(np.shape(values)), kind) for name, values in outputs.items()
    }
    return graph.write(path, made, [1, 3, 64, 64])


def fill_weights(value: float, sides: list[int] | None = None) -> Callable[[Any], None]:
    def fill(model: Any) -> None:
        for tensor in model.graph.initializer:
            if list(tensor.dims) == sides or (sides is None and len(tensor.dims) == 4):
                tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, value, np.float32), tensor.name))

    return fill


def set_input(kind: int | None = None, sides: list[int] | None = None) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.input[0].type.tensor_type
        tensor.elem_type = tensor.elem_type if kind is None else kind
        for dim, side in zip(tensor.shape.dim, sides or [], strict=False):
            dim.dim_value = side

    return change


def of_sequences(model: Any) -> None:
    array = helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 3, 4, 4])
    model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(array))


def shares_of_sides(model: Any) -> None:
    for tensor in model.graph.initializer:
        if list(tensor.dims) == [1, 4, 32]:
            boxes = numpy_helper.to_array(tensor) / np.array([256, 128, 256, 128], np.float32)[None, :, None]
            tensor.CopyFrom(numpy_helper.from_array(boxes, tensor.name))


def a_name_twice(model: Any) -> None:
    model.graph.node.append(helper.make_node("Relu", ["images"], ["seg"]))


Written = Callable[[Path], Path]


def semantic(change: Callable[[Any], object], output: str = "logits") -> Written:
    return lambda path: edited(write_semantic(path, output), change)


def yolo(change: Callable[[Any], object]) -> Written:
    return lambda path: edited(write_yolo(path, names=True), change)


def of(**outputs: Any) -> Written:
    return lambda path: constant(path, outputs)


def detections(rows: int = 32, channels: int = 4) -> Written:
    return of(t=np.zeros((1, 10, rows)), q=np.zeros((1, channels, 16, 16)))


S: Family = "semantic"
Y: Family = "yolo-seg"
R: Family = "row-anchor"
NETWORKS: dict[str, tuple[Family, Written, str]] = {
    "weights of NaN": (S, semantic(fill_weights(np.nan), "argmax"), "NaN in c2; its training or its conversion went"),
    "infinite boxes": (Y, yolo(fill_weights(np.inf, [1, 4, 32])), "finite values in output0"),
    "infinite scores": (S, of(y=np.full((1, 3, 8, 8), np.inf)), "finite values in y"),
    "shares of sides": (Y, yolo(shares_of_sides), r"boxes in pixels .* output0 .* 0.0625 to 0.938, which are shares"),
    "no detections": (Y, detections(rows=0), r"gives t \(1, 10, 0\)"),
    "no prototypes": (Y, detections(channels=0), r"gives q \(1, 0, 16, 16\)"),
    "no rows": (R, of(y=np.zeros((1, 101, 0, 4))), r"gives y \(1, 101, 0, 4\)"),
    "five sides": (S, of(y=np.zeros((1, 1, 3, 16, 16))), r"gives y \(1, 1, 3, 16, 16\)"),
    "an unknown type": (S, semantic(set_input(kind=99)), "images of type 99"),
    "a sequence": (S, semantic(of_sequences), "images, which is no array"),
    "sides open as -1": (S, semantic(set_input(sides=[-1, 3, -1, -1])), r"open \(openxopen\); say which with --size"),
    "gigabytes": (S, semantic(set_input(sides=[1, 3, 200000, 200000])), "at most 34 million pixels"),
    "a name twice": (S, semantic(a_name_twice), r"Duplicate definition of name \(seg\).*onnx.checker"),
}
UNNAMED = ("no detections", "no prototypes")
ANSWERS = {S: SEMANTIC, Y: Answers(), R: ROWS}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, name: str) -> None:
    family, write, message = NETWORKS[name]
    answers = (
        replace(ANSWERS[family], classes=OBJECTS) if name in ("no detections", "no prototypes") else ANSWERS[family]
    )
    path = write(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=message) as told:
        import_model(path, family, tmp_path / "model", answers)
    assert "\n" not in str(told.value)
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize(("before", "after"), [(b"images", b"im\xff\xfees"), (b"seg", b"s\xffg")])
def test_names_that_are_no_utf8_are_told(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = write_semantic(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes().replace(before, after))
    with pytest.raises(ModelError, match="no UTF-8"):
        import_model(path, "semantic", tmp_path / "model", SEMANTIC)


def test_a_license_that_is_no_utf8_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "net.onnx", names=True)
    path.write_bytes(path.read_bytes().replace(b"a license", b"a lic\xff\xfese"))
    assert import_model(path, "yolo-seg", tmp_path / "model").card.licence == "a lic��se"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="a pipe"):
        import_model(tmp_path / "net.onnx", "semantic", tmp_path / "model", SEMANTIC)


def test_an_output_that_is_named_twice_is_one(tmp_path: Path) -> None:
    path = edited(write_semantic(tmp_path / "net.onnx"), lambda model: model.graph.output.append(model.graph.output[0]))
    import_model(path, "semantic", tmp_path / "model", SEMANTIC)
    assert [output.name for output in onnx.load(tmp_path / "model" / "model.onnx").graph.output] == ["seg"]


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.UINT32])
def test_numbers_of_every_kind_are_read(tmp_path: Path, kind: int) -> None:
    values = np.zeros((1, 3, 16, 16))
    values[:, 1, :, 8:] = 2
    path = constant(tmp_path / "net.onnx", {"y": values[:, 1:2] if kind == TensorProto.UINT32 else values}, kind)
    import_model(path, "semantic", tmp_path / "model", SEMANTIC)
    found = rtseg.load(tmp_path / "model")(np.zeros((64, 64, 3), np.uint8))
    assert found.class_ids.tolist() == ([0, 2] if kind == TensorProto.UINT32 else [0, 1])


def test_one_class_too_few_is_no_other_layout(tmp_path: Path) -> None:
    """A table of two classes is as wide as one of a class and an objectness, but has a box for each cell, not three."""
    cells = 8 * 8 + 4 * 4 + 2 * 2
    table = np.full((1, 4 + 2 + 4, cells), 0.5)
    table[:, :4] = 20
    path = constant(tmp_path / "net.onnx", {"t": table, "q": np.ones((1, 4, 16, 16))})
    with pytest.raises(ModelError, match="expected one table"):
        import_model(path, "yolo-seg", tmp_path / "model", Answers(classes=("person",)))
    card = import_model(path, "yolo-seg", tmp_path / "model", Answers(classes=OBJECTS)).card
    assert card.grouping.parameters["layout"] == "classes"
    path = constant(path, {"t": np.repeat(table, 3, axis=2), "q": np.ones((1, 4, 16, 16))})
    with pytest.raises(ModelError, match="expected one table"):
        import_model(path, "yolo-seg", tmp_path / "other", Answers(classes=OBJECTS))
    card = import_model(path, "yolo-seg", tmp_path / "other", Answers(classes=("person",))).card
    assert card.grouping.parameters["layout"] == "objectness"


def test_probabilities_of_each_class_by_itself_are_its_confidence(tmp_path: Path) -> None:
    """Sigmoids do not sum to 1, and the softmax of three of them is at most 0.58: no road would be free."""
    graph = Graph()
    pooled = graph.pool("images", 4, 4)
    graph.add("Sigmoid", graph.linear(pooled, [[0, 0, 0], [20, -20, 0], [-20, 20, 0]], [3, -3, -3]), name="seg")
    path = graph.write(tmp_path / "net.onnx", {"seg": ([1, 3, 32, 64], TensorProto.FLOAT)})
    import_model(path, "semantic", tmp_path / "model", SEMANTIC)
    found = rtseg.load(tmp_path / "model")(np.full((128, 256, 3), 10, np.uint8))
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-3))], abs=1e-3)


@pytest.mark.parametrize(
    "content", ["names: {0: a, b: c}", "names: &a [*a, b]", "[" * 1000, "names: [2024-99-99]", "a"]
)
def test_lists_of_classes_that_are_none_are_told(tmp_path: Path, content: str) -> None:
    file = tmp_path / "names.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match="expected a list of classes in"):
        read_classes(str(file))


@pytest.mark.parametrize("names", ["{[1]: 'a'}", "[" * 1000, "{0: 'a\0'}", "nothing", "{0: 'a', 2: 'b'}"])
def test_names_that_are_none_are_asked_for(tmp_path: Path, names: str) -> None:
    assert names_in({"names": names}) is None
    path = edited(
        write_yolo(tmp_path / "net.onnx"),
        lambda model: model.metadata_props.append(onnx.StringStringEntryProto(key="names", value=names)),
    )
    with pytest.raises(RtsegError, match="give --classes"):
        import_model(path, "yolo-seg", tmp_path / "model")


def test_weights_that_are_inputs_as_well_go_with_what_reads_them(tmp_path: Path) -> None:
    """As exporters wrote files before IR version 4."""

    def with_auxiliary(model: Any) -> None:
        graph = model.graph
        graph.initializer.append(numpy_helper.from_array(np.ones((9, 3, 8, 8), np.float32), "auxiliary.weight"))
        graph.node.append(helper.make_node("Conv", ["images", "auxiliary.weight"], ["auxiliary"], strides=[8, 8]))
        graph.output.append(helper.make_tensor_value_info("auxiliary", TensorProto.FLOAT, [1, 9, 16, 32]))
        for tensor in graph.initializer:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        model.ir_version = 3
        model.opset_import[0].version = 8

    path = edited(write_semantic(tmp_path / "net.onnx"), with_auxiliary)
    import_model(path, "semantic", tmp_path / "model", SEMANTIC)
    assert len(rtseg.load(tmp_path / "model")(paint_objects(SCENE))) == 3


def test_bytes_are_taken_by_networks_of_an_old_opset(tmp_path: Path) -> None:
    path = turn_ends(write_semantic(tmp_path / "net.onnx"), of_bytes=True)
    edited(path, lambda model: setattr(model.opset_import[0], "version", 9))
    import_model(path, "semantic", tmp_path / "model", replace(SEMANTIC, normalization=None))
    assert len(rtseg.load(tmp_path / "model")(paint_objects(SCENE))) == 3
