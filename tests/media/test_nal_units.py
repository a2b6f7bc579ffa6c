"""A packet that is missing between two others is noticed, and no picture is given that lacks it."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import ImageError
from rtseg.media.coded_video import PacketDecoder
from rtseg.media.nal_units import Continuity
from tests.media.recordings import picture
from tests.media.test_coded_video import SIZE, STEADY, packets

STREAMS = {
    "h264": packets("libx264", 40, **STEADY),
    "h264 with pictures that none refers to": packets(
        "libx264", 40, **{"x264-params": "scenecut=0:bframes=2:b-adapt=0:b-pyramid=none"}
    ),
    "hevc": packets("libx265", 40, **{"x265-params": "bframes=0:log-level=0:scenecut=0:no-open-gop=1"}),
}


def decoded(named: str, sent: list[tuple[int, bytes]]) -> tuple[dict[int, np.ndarray], int]:
    decoder, found, refused = PacketDecoder(), {}, 0
    for number, data in sent:
        try:
            found.update(
                {note: image for image, note in decoder.decode(named.split()[0], np.frombuffer(data, np.uint8), number)}
            )
        except ImageError:
            refused += 1
    found.update({note: image for image, note in decoder.flush()})
    return found, refused


@pytest.mark.parametrize("named", STREAMS)
@settings(max_examples=8, deadline=None)
@given(lost=st.sets(st.integers(0, 39), max_size=3), start=st.integers(0, 12))
def test_every_picture_given_is_the_one_that_was_sent(named: str, lost: set[int], start: int) -> None:
    if named == "hevc" and int(av.__version__.split(".")[0]) < 18:
        pytest.skip(f"the FFmpeg of PyAV {av.__version__} may call spoilt pictures of H.265 sound (docs/ros.md)")
    sent = [each for i, each in enumerate(STREAMS[named]) if i >= start and i not in lost]
    found, refused = decoded(named, sent)
    for number, image in found.items():
        assert np.abs(image.astype(int) - picture(number, *SIZE)).mean() < 6, number
    assert len(found) + refused >= len(sent) - 2  # a picture that waits for another may be forgotten with it
    if not lost:
        first = -(-start // 10) * 10
        assert set(found) >= set(range(first, 40))


def test_bytes_of_any_kind_are_taken() -> None:
    rng = np.random.default_rng(1)
    for codec in ("h264", "hevc", "vp9"):
        watch = Continuity(codec)
        for data in (b"", b"\0\0\1", b"\0\0\0\1\x67", *(b"\0\0\1" + rng.bytes(40) for _ in range(200))):
            watch.take(data)
