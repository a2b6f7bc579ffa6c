"""Where a model cannot be written is told before the work, and nothing is left there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rtseg.errors import ConfigError, MediaError, RtsegError
from rtseg.lab.adapt.run import Settings, adapt
from rtseg.lab.deploy.calibrate import calibrate_int8
from rtseg.lab.deploy.foreign.import_model import import_model
from rtseg.lab.deploy.model_folder import check_folder, model_name
from rtseg.lab.deploy.package import package_model

MAKERS: dict[str, Callable[[Path], object]] = {
    "export": lambda out: package_model(Path("no-run"), out),
    "import": lambda out: import_model(Path("no-network.onnx"), "yolo-seg", out),
    "calibrate": lambda out: calibrate_int8("no-model", [], out),
    "adapt": lambda out: adapt(Settings((Path("no-recording"),)), out, print, lambda *_: None),
}


@pytest.mark.parametrize("maker", sorted(MAKERS.keys() - {"calibrate"}))  # whose models keep their names
@pytest.mark.parametrize("name", ["my_model", "Mine", "a b", "[red]x", "x" * 101, "-x", "ü", "new\nline"])
def test_a_name_that_no_model_can_have_is_refused_first(maker: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="small letters, digits and hyphens") as told:
        MAKERS[maker](tmp_path / name)
    assert repr(name) in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("maker", sorted(MAKERS))
@pytest.mark.parametrize("kind", ["file", "link to itself", "under a file"])
def test_a_place_that_is_no_folder_is_refused_first(maker: str, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    if kind == "link to itself":
        out.symlink_to("taken")
    else:
        out.write_text("mine")
    with pytest.raises(RtsegError, match="taken"):
        MAKERS[maker](out / "model" if kind == "under a file" else out)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_folder_is_named_by_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert model_name(Path()) == "here"
    check_folder(Path())
    check_folder(Path("new/model"))
    assert list(Path().iterdir()) == []
    with pytest.raises(MediaError, match="expected to write"):
        check_folder(Path("/proc/model"))
