"""Whatever happens to a recording's bytes, what is sound of it is read, and nothing else happens.

``python bench/damages.py`` makes thousands more of them, and of those to other files.
"""

from __future__ import annotations

import logging
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import RtsegError
from tests.media.damage import FORMATS, FRAMES, Recording, damage, make, read, untouched
from tests.media.recordings import picture

SECONDS = 30.0
KEPT = ("db3", "mcap", "mcap-flat", "mcap-lz4", "mcap-zstd")
"""Formats of which every frame outside the damage is kept."""


@cache
def sound(kind: str) -> Recording:
    """The recording before anything happened to it."""
    with tempfile.TemporaryDirectory() as folder:
        return make(kind, Path(folder) / "x")


def hurt(kind: str, seed: int, folder: Path) -> tuple[Path, set[int] | None]:
    """A damaged copy, and the frames that it must still give; None where it was hurt in several places."""
    rng = np.random.default_rng((FORMATS.index(kind), seed))
    recording = sound(kind)
    content, ranges = recording.content, []
    times = 1 if seed % 2 else int(rng.integers(2, 6))
    for _ in range(times):
        content, places = damage(content, rng, times > 1) if content else (content, [])
        ranges += places
    path = folder / f"drive{recording.suffix}"
    path.write_bytes(content)
    return path, untouched(recording, ranges) if times == 1 and kind in KEPT else None


def check(kind: str, seed: int, folder: Path) -> str:
    """Read one damaged recording; what came of it."""
    path, wanted = hurt(kind, seed, folder)
    begin = time.monotonic()
    frames = read(path)
    assert time.monotonic() - begin < SECONDS, f"{kind} {seed} takes too long"
    given = set() if isinstance(frames, RtsegError) else set(frames)
    if wanted is None:
        return "error" if isinstance(frames, RtsegError) else f"{len(given) * 4 // FRAMES * 25} % and more"
    assert wanted <= given, f"{kind} {seed}: sound frames {sorted(wanted - given)} are lost: {frames!r:.200}"
    if not isinstance(frames, RtsegError):
        for number in wanted:
            assert np.array_equal(frames[number], picture(number)), f"{kind} {seed}: frame {number} is another"
    return "every sound frame"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_whole_recording_is_read_in_silence(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording = sound(kind)
    path = tmp_path / f"drive{recording.suffix}"
    path.write_bytes(recording.content)
    frames = read(path)
    assert not isinstance(frames, RtsegError)
    assert sorted(frames) == list(range(FRAMES))
    assert not caplog.records


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("kind", FORMATS)
def test_random_damage(kind: str, block: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "rtseg")
    for seed in range(15 * block, 15 * block + 15):
        check(kind, seed, tmp_path)
