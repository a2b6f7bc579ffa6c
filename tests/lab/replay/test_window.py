"""A run that is watched: keys save frames with labels that training reads, and end it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.lab.replay.replay import SAVED, run_overlays
from rtseg.lab.replay.window import PAUSE, QUIT, SAVE, Window
from rtseg.lab.studies.data_check import check_data
from tests.lab.replay.runs import ColumnPipeline, ListSource, drive, road


class Pressed:
    """Stands in for a person: keys by the number of the picture."""

    def __init__(self, keys: dict[int, str]) -> None:
        self.keys = keys
        self.seen: list[float | None] = []
        self.told: list[str] = []

    def shown(self, picture: np.ndarray, at: float | None, live: bool) -> Iterator[str]:
        self.seen.append(at)
        yield from self.keys.get(len(self.seen) - 1, "")

    def say(self, text: str) -> None:
        self.told.append(text)


def test_frames_are_saved_by_key_with_labels_that_training_reads(tmp_path: Path) -> None:
    window = Pressed({1: SAVE, 3: SAVE + SAVE, 5: QUIT})
    result = run_overlays(drive([{1: 30, 2: 90}] * 9), ColumnPipeline(), tmp_path, progress=False, window=window)
    assert result.frames >= 6
    assert len(window.seen) == 6
    assert (tmp_path / "overlay.mp4").stat().st_size > 0
    names = [f"list_{i:04d}" for i in range(3)]
    assert sorted(path.stem for path in (tmp_path / SAVED).glob("*.jpg")) == names
    assert [name in said for name, said in zip(names, window.told, strict=True)] == [True] * 3
    check = check_data(tmp_path / SAVED)
    assert check.faults == []
    assert (check.kind, check.pictures, check.counts.total()) == ("labelme", 3, 6)


def test_what_was_saved_before_is_never_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        run_overlays(drive([{1: 30}]), ColumnPipeline(), tmp_path, progress=False, window=Pressed({0: SAVE}))
    assert len(list((tmp_path / SAVED).iterdir())) == 4


def test_stills_wait_and_streams_are_shown_when_they_are_due(tmp_path: Path) -> None:
    window = Pressed({})
    run_overlays(drive([{1: 30}] * 3), ColumnPipeline(), tmp_path, progress=False, window=window)
    assert window.seen == pytest.approx([0.0, 0.033, 0.066])
    window = Pressed({})
    run_overlays(ListSource([Frame(road({1: 30}))]), ColumnPipeline(), tmp_path, progress=False, window=window)
    assert window.seen == [None]


def test_without_a_display_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter", reason="this Python came without Tk")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ConfigError, match=r"expected a display for --show.*overlay\.mp4"):
        Window("a drive")


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("tkinter", reason="this Python came without Tk")
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("no Xvfb is installed here, a display without a screen")
    with subprocess.Popen([server, "-displayfd", "1", "-screen", "0", "800x600x24"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        monkeypatch.setenv("DISPLAY", f":{process.stdout.readline().decode().strip()}")
        yield
        process.terminate()


def test_in_a_real_window_keys_are_given_and_the_space_bar_stops_the_clock(display: None) -> None:
    picture = np.full((900, 1600, 3), 90, np.uint8)
    with Window("a \x1b drive") as window:
        assert list(window.shown(picture, 0.0, live=False)) == []
        window._root.update()
        assert (window._label.winfo_width(), window._label.winfo_height()) == (1280, 720)
        window._root.focus_force()
        for key in (PAUSE, SAVE, PAUSE):
            window._root.event_generate(f"<KeyPress-{key}>")
        assert list(window.shown(picture, 0.05, live=False)) == [SAVE]
        window._root.event_generate("<KeyPress-Escape>")
        assert next(iter(window.shown(picture, None, live=False))) == QUIT
        window.say("done")
        assert "\x1b" not in window._root.title()
