"""The report's small video: within its limit, at the times of the run, whatever comes."""

from __future__ import annotations

import io

import av
import numpy as np

from rtseg.lab.replay.preview import Preview


def times(content: bytes) -> list[float]:
    with av.open(io.BytesIO(content)) as container:
        return [round(float(frame.time or 0), 3) for frame in container.decode(video=0)]


def test_every_frame_keeps_its_time() -> None:
    preview = Preview()
    seconds = [0.0, 0.1, 0.1, 0.5, 7.0]
    for i, at in enumerate(seconds):
        preview.write(np.full((361, 1281, 3), 40 * i, np.uint8), at)
    assert np.allclose(times(preview.finish()), seconds, atol=2e-3)


def test_of_more_than_fits_frames_are_left_out_evenly() -> None:
    rng = np.random.default_rng(0)
    preview = Preview(limit=200_000)
    for i in range(300):
        preview.write(rng.integers(0, 255, (72, 128, 3), dtype=np.uint8), i / 10)
    content = preview.finish()
    assert 40_000 < len(content) <= 200_000
    steps = np.diff(times(content))
    assert np.allclose(steps, steps[0], atol=2e-3)
    assert times(content)[-1] + steps[0] >= 29.9


def test_other_sizes_are_fitted_and_nothing_gives_nothing() -> None:
    preview = Preview()
    for size in ((72, 128), (100, 50), (2, 2)):
        preview.write(np.zeros((*size, 3), np.uint8), 0.0)
    assert len(times(preview.finish())) == 3
    assert Preview().finish() == b""
    tiny = Preview(limit=10)
    tiny.write(np.zeros((72, 128, 3), np.uint8), 0.0)
    assert tiny.finish() == b""
