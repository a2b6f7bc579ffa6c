"""The player of recordings: what cannot be is told before anything is played."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rtseg_ros import player

from rtseg.frame import Frame
from tests.media.recordings import write_video

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--rate", value) for value in ("0", "-5", "nan", "inf", "1e9", "fast")),
        *(("--seconds", value) for value in ("-1", "nan", "inf")),
        *(("--hold", value) for value in ("0", "-3", "1.5", "many")),
        ("--wait-seconds", "nan"),
    ],
)
def test_numbers_that_are_none_are_refused(
    option: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["player", "drive.mp4", option, value])
    with pytest.raises(SystemExit) as ended:
        player._arguments()
    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert option in told
    assert repr(value) in told


def test_sound_numbers_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["player", "drive.mp4", "--rate", "29.97", "--seconds", "0", "--hold", "12"])
    arguments = player._arguments()
    assert (arguments.rate, arguments.seconds, arguments.hold) == (29.97, 0.0, 12)


def test_no_more_frames_are_read_ahead_than_wanted() -> None:
    read = []

    def frames():
        for number in range(10):
            read.append(number)
            yield player.Frame(np.zeros((2, 2, 3), np.uint8))

    ahead = player.ReadAhead(frames(), depth=3)
    ahead.fill_up()
    assert len(read) <= 4
    ahead.close()


@pytest.mark.slow
def test_a_log_that_cannot_be_written_is_told_before_playing(dds: dict[str, str], tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4")
    command = [sys.executable, "-c", "from rtseg_ros.executables import player; player()", str(video)]
    for log in (tmp_path, video, Path("/proc/log.json")):
        ended = subprocess.run(
            [*command, "--log", str(log)], env=dds, capture_output=True, text=True, check=False, timeout=60
        )  # which waits a minute for a subscriber, and does not come to that
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.startswith("player: expected")
        assert ended.stderr.count("\n") == 1
    assert video.stat().st_size > 0


def test_a_reader_that_hangs_does_not_keep_the_player_from_ending() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def frames() -> Iterator[Frame]:
        begun.set()
        go_on.wait()
        yield Frame(np.zeros((2, 2, 3), np.uint8))

    ahead = player.ReadAhead(frames(), depth=2)
    assert begun.wait(10)
    closing = threading.Thread(target=ahead.close, daemon=True)
    closing.start()
    closing.join(20)
    ended = not closing.is_alive()
    go_on.set()
    assert ended
