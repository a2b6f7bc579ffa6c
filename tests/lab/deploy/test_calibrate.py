"""int8 from one calibration: two forms, sensitive layers left in float, and a gate.

The network answers to colors without training: a red and a green line on gray asphalt become lanes 1 and 2. Its layers
carry the colors on. In the sensitive version, a channel a thousand times as large as the colors lies beside them,
read by nobody, so that one int8 range for the tensor leaves nothing of the colors.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from rtseg.errors import DatasetError, MediaError, ModelError
from rtseg.lab.deploy import quantize
from rtseg.lab.deploy.calibrate import calibrate_int8
from rtseg.lab.deploy.calibration_frames import draw_frames
from rtseg.lab.deploy.calibration_result import Int8Calibration
from rtseg.lab.deploy.network_files import FLOAT, INT8, INT8_TENSORRT
from rtseg.lab.deploy.quantize import (
    calibrate_ranges,
    network_inputs,
    open_session,
    quantize_network,
    read_float_network,
)
from rtseg.lab.deploy.recipe import CalibrationSettings, Recipe
from rtseg.runtime.card import ModelCard, sha256_of, verified_model_file
from rtseg.runtime.half_weights import with_float_weights
from rtseg.runtime.models import find_model
from rtseg.runtime.tensorrt import compile_model
from tests.threshold_network import threshold_card

ROOT = Path(__file__).resolve().parents[3]
HEIGHT, WIDTH, CHANNELS = 96, 160, 7
LAYERS = ("spread", "mix", "narrow", "head")


def write_network(path: Path, outlier: float = 1.0) -> None:
    """image -> spread -> relu -> mix -> relu -> narrow (3x3) -> relu -> pool -> head: colors through four layers."""
    rng = np.random.default_rng(0)
    spread = np.zeros((8, 3, 1, 1), np.float32)
    spread[:3, :, 0, 0] = np.eye(3)
    spread[3, :, 0, 0] = outlier
    mix = np.zeros((8, 8, 1, 1), np.float32)
    mix[:3, :3, 0, 0] = np.eye(3)
    mix[4:, :3, 0, 0] = rng.uniform(0, 1, (4, 3))
    narrow = np.zeros((3, 8, 3, 3), np.float32)
    narrow[range(3), range(3), 1, 1] = 1.0
    head = np.full((CHANNELS, 3, 1, 1), -1.0, np.float32)
    head[0] = 0.0
    head[[1, 2, 3], [0, 1, 2]] = 2.0
    weights = {"spread": spread, "mix": mix, "narrow": narrow, "head": head}
    biases = {name: np.zeros(len(weight), np.float32) for name, weight in weights.items()}
    biases["head"][0] = 0.5
    biases["head"][4:] = -9.0
    nodes, tensor = [], "image"
    for name in LAYERS:
        result = "logits" if name == "head" else f"{name}_out"
        nodes.append(
            helper.make_node(
                "Conv",
                [tensor, f"{name}.weight", f"{name}.bias"],
                [result],
                name=name,
                pads=[1] * 4 if name == "narrow" else [0] * 4,
            )
        )
        tensor = result
        if name != "head":
            nodes.append(helper.make_node("Relu", [tensor], [f"{name}_relu"], name=f"{name}_relu"))
            tensor = f"{name}_relu"
        if name == "narrow":
            nodes.append(
                helper.make_node("AveragePool", [tensor], ["pooled"], name="pool", kernel_shape=[4, 4], strides=[4, 4])
            )
            tensor = "pooled"
    initializers = [numpy_helper.from_array(weights[name], f"{name}.weight") for name in LAYERS]
    initializers += [numpy_helper.from_array(biases[name], f"{name}.bias") for name in LAYERS]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CHANNELS, HEIGHT // 4, WIDTH // 4])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_model(folder: Path, outlier: float = 1.0, **fields: object) -> Path:
    folder.mkdir(parents=True)
    write_network(folder / "model.onnx", outlier)
    card = threshold_card()
    card["name"] = "colors"
    card["model"]["sha256"] = sha256_of(folder / "model.onnx")
    card["input"].update(width=WIDTH, height=HEIGHT)
    ModelCard.model_validate({**card, **fields}).dump(folder / "card.yaml")
    return folder


def road(shift: int) -> tuple[np.ndarray, list[list[float]]]:
    """(288, 480, 3) uint8 BGR with a red and a green line, and their x at rows 100, 110, ... 280."""
    image = np.full((288, 480, 3), 60, np.uint8)
    image[:] += np.random.default_rng(shift).integers(0, 12, image.shape, dtype=np.uint8)
    lanes: list[list[float]] = [[], []]
    for y in range(80, 288):
        xs = 190 + shift - 0.5 * (y - 80), 270 + shift + 0.5 * (y - 80)
        for x, color, lane in zip(xs, ((0, 0, 255), (0, 255, 0)), lanes, strict=True):
            image[y, int(x) - 7 : int(x) + 8] = color
            if y >= 100 and y % 10 == 0:
                lane.append(x)
    return image, lanes


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled pictures in TuSimple's layout."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "images").mkdir()
    lines = []
    for i in range(4):
        image, lanes = road(6 * i)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
        label = {"raw_file": f"images/{i}.png", "lanes": lanes, "h_samples": list(range(100, 288, 10))}
        lines.append(json.dumps(label))
    (folder / "labels.json").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "colors")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def hashes(card: ModelCard) -> dict[str, str]:
    return {entry.file: entry.sha256 for entry in card.files}


def test_one_calibration_gives_two_forms_near_float(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    write_network(path)
    inputs = network_inputs([road(i)[0] for i in range(6)], (HEIGHT, WIDTH), (0,) * 3, (255,) * 3)
    calibration = calibrate_ranges(read_float_network(path), inputs[:4])
    assert (calibration.layers, calibration.head) == (LAYERS, ("head",))
    expected = open_session(path).run(None, {"image": inputs[5]})[0]
    assert expected.max() > 0.9
    for form in ("cpu", "tensorrt"):
        found = open_session(quantize_network(calibration, form)).run(None, {"image": inputs[5]})[0]
        assert 0.0 < np.abs(found - expected).max() < 0.06
        alone = quantize_network(calibration, form, LAYERS)
        assert not [node for node in alone.graph.node if "Linear" in node.op_type]


def test_the_form_for_tensorrt_is_symmetric_int8_with_float_biases(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    write_network(path)
    inputs = network_inputs([road(i)[0] for i in range(3)], (HEIGHT, WIDTH), (0,) * 3, (255,) * 3)
    network = quantize_network(calibrate_ranges(read_float_network(path), inputs), "tensorrt")
    constants = {tensor.name: tensor for tensor in network.graph.initializer}
    linear = [node for node in network.graph.node if "Linear" in node.op_type]
    assert len(linear) == 9  # Q and DQ before each of three layers, DQ at each of their weights
    for node in linear:
        zero_point = constants[node.input[2]]
        assert zero_point.data_type == TensorProto.INT8
        assert not numpy_helper.to_array(zero_point).any()
        if node.input[0] in constants:
            assert constants[node.input[0]].data_type == TensorProto.INT8
            assert numpy_helper.to_array(constants[node.input[1]]).size == constants[node.input[0]].dims[0]
    layers = {node.name: node for node in network.graph.node if node.op_type == "Conv"}
    assert all(constants[node.input[2]].data_type == TensorProto.FLOAT for node in layers.values())
    # Nothing stands between a layer and its activation, so that TensorRT fuses the two.
    relus = {node.input[0] for node in network.graph.node if node.op_type == "Relu"}
    assert {layers[name].output[0] for name in ("spread", "mix", "narrow")} == relus


def test_a_model_is_calibrated_written_and_compiled(tmp_path: Path, model: Path, labelled: Path) -> None:
    out, recipes = tmp_path / "made", tmp_path / "recipes"
    settings = CalibrationSettings(rendered=1)
    result = calibrate_int8(model, [labelled / "images"], out, settings, evaluation=labelled, recipes=recipes)
    assert [(s.name, s.kind, s.frames) for s in result.sources] == [
        ("images", "pictures", 4),
        ("rendered", "rendered", 1),
    ]
    assert result.in_float == ()
    assert result.values[FLOAT] > 0.9
    assert all(abs(loss) <= 0.5 for loss in result.losses.values())
    assert set(contents(out)) == {FLOAT, INT8, INT8_TENSORRT, "card.yaml"}
    card = ModelCard.load(out / "card.yaml")
    assert card == result.card
    for entry in card.files:
        verified_model_file(out, entry)
    assert [(entry.file, entry.precision) for entry in card.files] == [
        (INT8, "int8"),
        (FLOAT, "fp32"),
        (INT8_TENSORRT, "int8"),
    ]
    assert card.metric_change("int8", INT8_TENSORRT) == pytest.approx(-result.losses[INT8_TENSORRT] / 100, abs=1e-4)
    recipe = Recipe.load(recipes / "colors.yaml")
    assert recipe == result.recipe
    assert recipe.same_files(hashes(card))
    page = (recipes / "colors.html").read_text()
    assert all(f"<td>{layer}</td>" in page for layer in LAYERS)
    assert page.count("float, head") == 1
    assert "<svg" in page

    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (the extra `tensorrt`)")
    engine, record = compile_model(find_model(out), "int8", "sm89", folder=tmp_path / "cache")
    assert engine.is_file()
    assert record.onnx_sha256 == card.files[2].sha256
    assert record.metric_change == card.metric_change("int8", INT8_TENSORRT)


@pytest.mark.slow
def test_a_model_can_be_calibrated_in_its_own_folder(tmp_path: Path, model: Path, labelled: Path) -> None:
    float_hash = sha256_of(model / "model.onnx")
    for _ in range(2):
        calibrate_int8(model, [labelled / "images"], model, evaluation=labelled, recipes=tmp_path / "recipes")
        assert sha256_of(model / FLOAT) == float_hash
    assert len(find_model(model).card.scores) == 12


@pytest.mark.slow
def test_a_recipe_gives_the_same_files_again(tmp_path: Path, labelled: Path) -> None:
    model = write_model(tmp_path / "colors", outlier=1000.0)

    def calibrate(name: str, settings: CalibrationSettings) -> Int8Calibration:
        return calibrate_int8(
            model, [labelled / "images"], tmp_path / name, settings, evaluation=labelled, recipes=tmp_path / name
        )

    first = calibrate("first", CalibrationSettings(frames=3, seed=5))
    recipe = Recipe.load(tmp_path / "first" / "colors.yaml")
    assert recipe.settings.in_float == first.in_float != ()
    assert recipe.same_files(hashes(calibrate("again", recipe.settings).card))
    other = recipe.settings.model_copy(update={"method": "percentile"})
    assert not recipe.same_files(hashes(calibrate("other", other).card))


@pytest.mark.parametrize("path", sorted((ROOT / "calibration" / "int8").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_is_of_the_shipped_files(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.model == path.stem
    assert recipe.results is not None
    made = {name: entry.sha256 for name, entry in recipe.results.files.items()}
    shipped = hashes(find_model(recipe.model).card)
    assert "model.onnx" in shipped
    assert shipped.items() <= made.items(), "calibrate again: rtseg calibrate int8 --recipe"  # not all are shipped


def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelError, match="expected a calibration recipe"):
        Recipe.load(tmp_path / "missing.yaml")
    (tmp_path / "wrong.yaml").write_text("model: colors\nsettings: {frames: 0}\n")
    with pytest.raises(ModelError, match=r"settings\.frames"):
        Recipe.load(tmp_path / "wrong.yaml")
    # Even before it is asked for frames.
    with pytest.raises(ModelError, match="it has no 'blur'"):
        calibrate_int8(model, [], tmp_path / "made", CalibrationSettings(in_float=("blur",)))


def test_a_sensitive_layer_is_found_and_left_in_float(tmp_path: Path, labelled: Path) -> None:
    model, out = write_model(tmp_path / "colors", outlier=1000.0), tmp_path / "made"
    result = calibrate_int8(model, [labelled / "images"], out, evaluation=labelled, recipes=tmp_path / "recipes")
    # What the outlier drowns lies between these two, and each asks for its rounding in one of the forms.
    assert set(result.in_float) == {"spread", "mix"}
    assert all(abs(loss) <= 0.5 for loss in result.losses.values())
    operators = [node.op_type for node in onnx.load(out / INT8_TENSORRT).graph.node]
    assert operators.count("QuantizeLinear") == 1  # before `narrow`, which stays int8
    assert "sensitive layers stay in float: " in (tmp_path / "recipes" / "colors.html").read_text()


def test_a_model_that_loses_too_much_is_refused_and_nothing_is_overwritten(
    tmp_path: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtseg.lab.deploy.calibrate.MOST_FLOAT_LAYERS", 0)
    model, recipes = write_model(tmp_path / "colors", outlier=1000.0), tmp_path / "recipes"
    before = contents(model)
    with pytest.raises(ModelError, match=r"int8 loses \d+\.\d+ points of accuracy .* allows 0\.5"):
        calibrate_int8(model, [labelled / "images"], model, evaluation=labelled, recipes=recipes)
    assert contents(model) == before
    assert [path.name for path in tmp_path.iterdir()] == ["colors"]


def test_an_engine_that_loses_too_much_is_not_compiled(tmp_path: Path, model: Path, labelled: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (the extra `tensorrt`)")
    calibrate_int8(model, [labelled / "images"], model, evaluation=labelled, recipes=tmp_path / "recipes")
    card = yaml.safe_load((model / "card.yaml").read_text())
    for score in card["scores"]:
        if score["file"] == INT8_TENSORRT:
            score["value"] -= 0.02
    (model / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(ModelError, match=r"model-int8-tensorrt\.onnx of colors loses .* allows 0\.5"):
        compile_model(find_model(model), "int8", "sm89", folder=tmp_path / "cache")
    compile_model(find_model(model), "fp32", "sm89", folder=tmp_path / "cache")


def test_frames_that_cannot_be_had_are_refused(tmp_path: Path, model: Path, labelled: Path) -> None:
    out = tmp_path / "made"
    with pytest.raises(DatasetError, match="--data PATH or --rendered N"):
        calibrate_int8(model, [], out)
    with pytest.raises(MediaError, match="does not exist"):
        calibrate_int8(model, [tmp_path / "missing.mcap"], out)
    (tmp_path / "cut.mcap").write_bytes(b"\x89MCAP0\r\n")
    with pytest.raises(MediaError, match=r"cut\.mcap"):
        calibrate_int8(model, [tmp_path / "cut.mcap"], out)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match="broken"):
        calibrate_int8(model, [tmp_path / "broken"], out)
    assert not out.exists()


def test_sources_of_one_name_are_all_drawn_from(tmp_path: Path) -> None:
    sources = [tmp_path / drive / "images" for drive in ("first", "second")]
    for number, source in enumerate(sources):
        source.mkdir(parents=True)
        cv2.imwrite(str(source / "1.png"), np.full((8, 8, 3), number, np.uint8))
    drawn = draw_frames(sources, CalibrationSettings(rendered=0), lambda _: np.zeros((8, 8, 3), np.uint8))
    assert [int(image.max()) for each in drawn.values() for image in each.images] == [0, 1]
    assert list(drawn) == ["images", str(sources[1])]
    with pytest.raises(DatasetError, match="twice"):
        draw_frames([*sources, sources[1]], CalibrationSettings(rendered=0), lambda _: np.zeros((8, 8, 3), np.uint8))


def test_a_model_without_a_float_network_is_refused(tmp_path: Path, model: Path, labelled: Path) -> None:
    card = yaml.safe_load((model / "card.yaml").read_text())
    card["model"]["precision"] = "int8"
    (model / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(ModelError, match="no fp32 network"):
        calibrate_int8(model, [labelled / "images"], tmp_path / "made")


def test_the_float_network_is_prepared_once(
    tmp_path: Path, model: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(network: onnx.ModelProto) -> onnx.ModelProto:
        read.append(network)
        return with_float_weights(network)

    monkeypatch.setattr(quantize, "with_float_weights", counted)
    settings = CalibrationSettings(in_float=("mix",))
    calibrate_int8(
        model, [labelled / "images"], tmp_path / "made", settings, evaluation=labelled, recipes=tmp_path / "recipes"
    )
    assert len(read) == 1
