from __future__ import annotations

import copy

import pytest
import yaml

from rtseg.errors import ModelError
from rtseg.runtime import bundled_models, find_model
from rtseg.runtime.card import ModelCard


def test_a_card_survives_being_written(model_folder, tmp_path):
    card = ModelCard.load(model_folder() / "card.yaml")
    card.dump(tmp_path / "again.yaml")
    assert ModelCard.load(tmp_path / "again.yaml") == card


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", "unheard-of"),
        ("name", "Has Spaces"),
        ("outputs", []),
        ("outputs", [{"name": "a", "channels": 1, "stride": 4}] * 2),
        ("surprise", 1),
        ("input", {"width": 0, "height": 32, "order": "rgb", "mean": [0, 0, 0], "std": [1, 1, 1]}),
        ("input", {"width": 64, "height": 32, "order": "rgb", "mean": [0, 0, 0], "std": [1, 0, 1]}),
        ("input", {"width": 64, "height": 32, "order": "rgb", "mean": [1e300, 0, 0], "std": [1, 1, 1]}),
        ("input", {"width": 64, "height": 32, "order": "rgb", "mean": [0, 0, 0], "std": [1, 1, 1e-300]}),
        ("max_int8_loss", float("nan")),
        ("scores", [{"dataset": "d", "metric": "m", "value": float("inf"), "precision": "fp32", "command": "c"}]),
        ("name", "a" * 1000),
        ("model", {"file": "../model.onnx", "sha256": "0" * 64, "precision": "fp32"}),
        ("model", {"file": "model.onnx", "sha256": "short", "precision": "fp32"}),
    ],
)
def test_a_wrong_field_is_named(card_content, tmp_path, field, value):
    content = copy.deepcopy(card_content)
    content[field] = value
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match=field):
        ModelCard.load(path)


@pytest.mark.parametrize("text", ["", "- a list", "{unclosed", "!!python/object/apply:os.getcwd []", "\x00"])
def test_what_is_no_card_is_refused(tmp_path, text):
    path = tmp_path / "card.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"card\.yaml"):
        ModelCard.load(path)


def test_a_name_that_no_file_can_have_is_refused(model_folder):
    folder = model_folder()
    card = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(card.replace("file: model.onnx", f"file: {'a' * 5000}"))
    with pytest.raises(ModelError, match="which is not there"):
        find_model(folder)


def test_a_changed_network_is_refused(model_folder):
    folder = model_folder()
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="does not match its card"):
        find_model(folder)


def test_a_missing_network_is_refused(model_folder):
    folder = model_folder()
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match="not there"):
        find_model(folder)


@pytest.mark.parametrize("name", ["no-such-model", "../engines/lanes-lite-not", "", "/nowhere"])
def test_an_unknown_model_lists_the_known(name):
    with pytest.raises(ModelError, match="expected a bundled model"):
        find_model(name)


def test_a_name_that_is_misspelt_is_told():
    with pytest.raises(ModelError, match=r"got 'gmis_lite'; did you mean gmis-lite\?$"):
        find_model("gmis_lite")
    with pytest.raises(ModelError, match=r"got 'yolo'$"):
        find_model("yolo")


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_match_their_cards(name):
    model = find_model(name)
    assert model.card.name == name
    assert model.card.scores, "a bundled model states what it scored"


def test_another_network_of_the_card_can_be_chosen(model_folder):
    folder = model_folder()
    assert find_model(folder, "model.onnx").path == folder / "model.onnx"
    with pytest.raises(ModelError, match=r"expected a network of thresholds: model\.onnx"):
        find_model(folder, "other.onnx")


@pytest.mark.parametrize("name", bundled_models())
def test_every_network_of_a_bundled_model_is_there(name):
    for file in find_model(name).card.files:
        assert find_model(name, file.file).path.is_file()


def test_a_training_run_is_no_model_yet(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=f"rtseg export {tmp_path}"):
        ModelCard.load(tmp_path / "card.yaml")
