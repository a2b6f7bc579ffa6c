"""Models that did not come with the package: fetched whole, with the right hashes, or not at all."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtseg.errors import MediaError, ModelError
from rtseg.lab.deploy.model_wheel import write_model_wheel
from rtseg.runtime import bundled_models, find_model
from rtseg.runtime import models as places
from rtseg.runtime.card import ModelCard, sha256_of
from rtseg.runtime.model_fetch import get_model

ModelFolder = Callable[..., Path]
NAME = "thresholds"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's models folder."""
    monkeypatch.setenv("RTSEG_MODELS", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def model(model_folder: ModelFolder) -> Path:
    return model_folder()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server's address, and the folder that it shows."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


def nothing_is_left(home: Path) -> bool:
    return not home.exists() or not list(home.iterdir())


def zipped(model: Path, path: Path, prefix: str = f"{NAME}/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in model.iterdir():
            archive.write(file, prefix + file.name)
    return path


def test_a_fetched_model_is_known_by_name(model: Path, home: Path) -> None:
    with pytest.raises(ModelError, match="expected a bundled model"):
        find_model(NAME)
    assert get_model(NAME, str(model)) == home / NAME
    assert find_model(NAME).path == home / NAME / "model.onnx"
    assert NAME in bundled_models()


@pytest.mark.parametrize("where", ["folder above", "folder", "wheel's folder", "wheel", "zip", "zip without folder"])
def test_sources_on_this_machine(model: Path, home: Path, tmp_path: Path, where: str) -> None:
    source = {
        "folder above": lambda: model.parent,
        "folder": lambda: model,
        "wheel's folder": lambda: write_model_wheel(model, tmp_path / "wheels").parent,
        "wheel": lambda: write_model_wheel(model, tmp_path / "wheels"),
        "zip": lambda: zipped(model, tmp_path / "a.zip"),
        "zip without folder": lambda: zipped(model, tmp_path / "b.zip", ""),
    }[where]()
    assert get_model(NAME, str(source)) == home / NAME
    assert sorted(path.name for path in (home / NAME).iterdir()) == ["card.yaml", "model.onnx"]
    assert [path.name for path in home.iterdir()] == [NAME]


def test_what_is_there_is_left_alone_and_what_is_broken_is_replaced(model: Path, home: Path) -> None:
    get_model(NAME, str(model))
    assert get_model(NAME, "/nowhere") == home / NAME
    with (home / NAME / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="found none"):
        get_model(NAME, "/nowhere")
    get_model(NAME, str(model))
    assert find_model(NAME).card.name == NAME


def test_nothing_is_kept_of_what_does_not_fit_its_card(model: Path, home: Path, tmp_path: Path) -> None:
    sound = zipped(model, tmp_path / "sound.zip")
    with (model / "model.onnx").open("ab") as file:
        file.write(b"\0")
    for source in (model, zipped(model, tmp_path / "changed.zip")):
        with pytest.raises(ModelError, match="does not match its card"):
            get_model(NAME, str(source))
        assert nothing_is_left(home)
    (model / "model.onnx").unlink()
    with pytest.raises(ModelError, match="not there"):
        get_model(NAME, str(model))
    assert nothing_is_left(home)
    get_model(NAME, str(sound))
    before = (home / NAME / "card.yaml").read_bytes()
    (home / NAME / "model.onnx").write_bytes(b"broken")
    with pytest.raises(ModelError):
        get_model(NAME, str(model))
    assert (home / NAME / "card.yaml").read_bytes() == before, "a failed fetch leaves what was there"


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_what_is_no_archive_is_refused(home: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.whl").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        get_model(NAME, str(tmp_path / "a.whl"))
    assert nothing_is_left(home)


def test_a_damaged_archive_is_refused(model: Path, home: Path, tmp_path: Path) -> None:
    path = zipped(model, tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    content[content.find(b"thresholds") + 40] ^= 255
    path.write_bytes(content)
    with pytest.raises(ModelError):
        get_model(NAME, str(path))
    assert nothing_is_left(home)


def test_an_archive_writes_nowhere_else(model: Path, home: Path, tmp_path: Path) -> None:
    """Only the card and the plain file names that it lists are taken."""
    path = tmp_path / "a.zip"
    zipped(model, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped", b"x")
        archive.writestr(f"{NAME}/more.py", b"x")
    get_model(NAME, str(path))
    assert sorted(file.name for file in (home / NAME).iterdir()) == ["card.yaml", "model.onnx"]
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a/b", "-x", "a b", "..", "x" * 3 + "\n"])
def test_names_that_are_none_are_refused(name: str, home: Path) -> None:
    with pytest.raises(ModelError, match="expected a model's name"):
        get_model(name, "/nowhere")
    assert nothing_is_left(home)


def test_another_model_under_the_name_is_refused(model: Path, home: Path) -> None:
    with pytest.raises(ModelError, match="expected the model other, got thresholds"):
        get_model("other", str(model))
    assert nothing_is_left(home)


def test_a_download_is_checked_and_its_progress_told(model: Path, home: Path, server: tuple[str, Path]) -> None:
    address, folder = server
    wheel = write_model_wheel(model, folder)
    told: list[float] = []
    url = f"{address}/{wheel.name}"
    with pytest.raises(ModelError, match="expected sha256 0000"):
        get_model(NAME, f"{url}#sha256={'0' * 64}")
    assert nothing_is_left(home)
    get_model(NAME, f"{url}#sha256={sha256_of(wheel)}", told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert find_model(NAME).card.name == NAME


def test_an_address_that_does_not_answer_is_told(home: Path, server: tuple[str, Path]) -> None:
    with pytest.raises(MediaError, match="File not found"):
        get_model(NAME, f"{server[0]}/none.whl")
    with pytest.raises(MediaError, match="expected to fetch"):
        get_model(NAME, "http://127.0.0.1:9/none.whl")
    assert nothing_is_left(home)


@pytest.mark.slow
def test_an_index_is_asked_through_pip(model: Path, home: Path, server: tuple[str, Path]) -> None:
    address, folder = server
    project = folder / "simple" / f"rtseg-models-{NAME}"
    wheel = write_model_wheel(model, project)
    link = f'<a href="{wheel.name}#sha256={{}}">{wheel.name}</a>'
    (project / "index.html").write_text(link.format("0" * 64))
    with pytest.raises(ModelError, match="pip could not fetch"):
        get_model(NAME, f"{address}/simple/")
    (project / "index.html").write_text(link.format(sha256_of(wheel)))
    assert get_model(NAME, f"{address}/simple/") == home / NAME
    with pytest.raises(ModelError, match="pip could not fetch rtseg-models-no-such"):
        get_model("no-such", f"{address}/simple/")
    with pytest.raises(ModelError, match=r"; did you mean lanes-lite\?$"):
        get_model("lanes-light", f"{address}/simple/")


@pytest.fixture
def package(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that was released with the model but brings only its card."""
    folder = tmp_path / "package"
    (folder / NAME).mkdir(parents=True)
    shutil.copy(model / "card.yaml", folder / NAME)
    monkeypatch.setattr(places, "bundled_models_folder", lambda: folder)
    monkeypatch.setattr("rtseg.runtime.model_fetch.bundled_models_folder", lambda: folder)
    return folder


def test_a_model_of_which_only_the_card_came_says_how_to_fetch_it(package: Path, model: Path) -> None:
    assert NAME not in bundled_models()
    with pytest.raises(ModelError, match="rtseg models get thresholds"):
        find_model(NAME)
    get_model(NAME, str(model))
    assert NAME in bundled_models()
    assert find_model(NAME).card.name == NAME


def test_the_packages_card_says_which_hashes_are_right(
    package: Path, model: Path, home: Path, model_folder: ModelFolder
) -> None:
    get_model(NAME, str(model))
    card = ModelCard.load(model / "card.yaml")
    with (model / "model.onnx").open("ab") as file:
        file.write(bytes([0x3A, 0x00]))  # an empty field: another file, the same network
    entry = card.model.model_copy(update={"sha256": sha256_of(model / "model.onnx")})
    card.model_copy(update={"model": entry}).dump(model / "card.yaml")
    shutil.rmtree(home / NAME)
    with pytest.raises(ModelError, match="was released with it"):
        get_model(NAME, str(model))
    assert nothing_is_left(home)
    shutil.copytree(model, home / NAME)
    with pytest.raises(ModelError, match="another release"):
        find_model(NAME)
    assert find_model(home / NAME).card.name == NAME, "its path is taken at its word"


def test_a_wheels_model_is_found_where_python_finds_packages(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(write_model_wheel(model, tmp_path / "wheels")) as wheel:
        wheel.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert find_model(NAME).path.is_relative_to(tmp_path / "site" / "rtseg_models")


def test_a_folder_of_models_that_may_not_be_looked_into_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o000)
    monkeypatch.setenv("RTSEG_MODELS", str(shut / "models"))
    user = os.geteuid()
    if user == 0:  # who may look into everything
        os.seteuid(65534)
    try:
        assert places.known_models()["lanes-lite"] is not None
    finally:
        os.seteuid(user)
