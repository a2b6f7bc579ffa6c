"""Videos, pictures and cameras, and how the right reader is found."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from rtseg.errors import ImageError, MediaError
from rtseg.media import open_frames
from rtseg.media.images import read_image
from rtseg.media.natural_order import natural_key
from tests.media.recordings import picture, write_video


def test_video_frames_and_their_times(tmp_path: Path) -> None:
    with open_frames(write_video(tmp_path / "a.mp4")) as source:
        frames = list(source)
        assert source.count == len(frames) == 12
        assert source.fps == 25
        assert [f.stamp for f in frames] == [i * 40_000_000 for i in range(12)]
        for i, frame in enumerate(frames):
            assert frame.image.dtype == np.uint8
            assert np.abs(frame.image.astype(int) - picture(i)).mean() < 12
        assert len(list(source)) == 12


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_other_containers(tmp_path: Path, suffix: str) -> None:
    assert len(list(open_frames(write_video(tmp_path / f"a{suffix}")))) == 12


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".h264"])
def test_parts_that_meet_are_the_whole(tmp_path: Path, suffix: str) -> None:
    with open_frames(write_video(tmp_path / f"a{suffix}", frames=40)) as source:
        whole = list(source)
        begin, end = source.extent or (0, len(whole))
        cuts = [begin + (end - begin) * i // 7 for i in range(7)]
        parts = [list(source.between(a, b)) for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
        assert min(map(len, parts[:6])) >= 5
        frames = [frame for part in parts for frame in part]
        assert [frame.stamp for frame in frames] == [frame.stamp for frame in whole]
        for ours, theirs in zip(frames, whole, strict=True):
            assert np.array_equal(ours.image, theirs.image)
        assert list(source.between(end + 10**10)) == []


def test_threads_of_ffmpeg_that_have_something_to_say_wait_for_nobody() -> None:
    assert av.logging.get_level() is None


@pytest.mark.parametrize("part", [0.0, 0.3, 0.8])
def test_truncated_mp4_has_no_index(tmp_path: Path, part: float) -> None:
    path = write_video(tmp_path / "a.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(MediaError, match=r"a\.mp4"):
        list(open_frames(path))


@pytest.mark.parametrize("kept", [1.0, 0.99, 0.5])
@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi", ".flv", ".mp4"])
def test_a_video_that_is_cut_off_gives_its_first_frames_and_says_so(tmp_path: Path, suffix: str, kept: float) -> None:
    options = {"movflags": "faststart"} if suffix == ".mp4" else None
    content = write_video(tmp_path / f"whole{suffix}", frames=40, options=options).read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(content[: int(len(content) * kept) - (kept < 1)])
    with open_frames(tmp_path / f"a{suffix}") as source:
        count = len(list(source))
        assert (count == 40 and not source.damage) if kept == 1 else source.damage
        assert 40 * kept - 10 <= count <= 40 * kept + 5


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_a_hole_in_a_video_is_told_and_nothing_is_made_up_to_fill_it(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a{suffix}", frames=60)
    whole = {frame.stamp: frame.image for frame in open_frames(path)}
    content = bytearray(path.read_bytes())
    hole = slice(len(content) * 4 // 10, len(content) * 5 // 10)
    content[hole] = bytes(hole.stop - hole.start)
    path.write_bytes(content)
    with open_frames(path) as source:
        left = list(source)
    assert source.damage
    assert 30 <= len(left) < 60
    for frame in left:
        difference = np.abs(frame.image.astype(int) - whole[frame.stamp])
        assert difference.max() <= 2, "it is the picture that was there"


def test_damaged_video_ends_without_a_traceback(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=40)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content) // 3, len(content) * 2 // 3, 300):
        content[position] ^= 0xFF
    path.write_bytes(content)
    with open_frames(path) as source:
        frames = list(source)
    assert 10 < len(frames) <= 40


@pytest.mark.parametrize("content", [b"", b"\x00" * 5000, b"not a video at all" * 50])
def test_files_that_are_no_videos(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.mp4"):
        list(open_frames(tmp_path / "x.mp4"))


def test_sound_without_pictures(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="video stream"):
        open_frames(path)


def write_pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / name), picture(i))


def test_pictures_in_natural_order(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ["f10.png", "f9.png", "F1.png", "f100.bmp"])
    (tmp_path / "p" / "notes.txt").write_text("x")
    with open_frames(tmp_path / "p") as source:
        assert source.count == 4
        frames = list(source)
    order = [2, 1, 0, 3]
    assert all(np.array_equal(f.image, picture(i)) for f, i in zip(frames, order, strict=True))
    assert [Path(f.name).name for f in frames] == ["F1.png", "f9.png", "f10.png", "f100.bmp"]
    assert len(list(open_frames(tmp_path / "p" / "*.png"))) == 3
    assert len(list(open_frames(tmp_path / "p" / "f9.png"))) == 1


def test_pictures_are_stills_unless_they_are_said_to_be_a_sequence(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ["1.png", "2.png", "3.png"])
    assert [f.stamp for f in open_frames(tmp_path / "p")] == [None] * 3
    assert [f.stamp for f in open_frames(tmp_path / "p" / "*.png")] == [None] * 3
    with open_frames(tmp_path / "p", fps=10) as source:
        assert source.fps == 10
        assert [f.stamp for f in source] == [0, 100_000_000, 200_000_000]
    (tmp_path / "p" / "1.png").rename(tmp_path / "p" / "1403636579763555584.png")
    assert [f.stamp for f in open_frames(tmp_path / "p" / "1403636579763555584.png")] == [None]


@pytest.mark.parametrize("fps", [0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, fps: float) -> None:
    write_pictures(tmp_path, ["1.png"])
    with pytest.raises(MediaError, match="expected a rate above 0"):
        open_frames(tmp_path, fps=fps)


def test_names_that_are_times_become_stamps(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ["1403636579763555584.png", "1403636579813555456.png"])
    assert [f.stamp for f in open_frames(tmp_path / "p")] == [1403636579763555584, 1403636579813555456]


def test_bad_pictures_are_counted(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ["1.png", "2.jpg", "3.bmp", "4.jpg"])
    for name in ("2.jpg", "3.bmp"):
        content = (tmp_path / "p" / name).read_bytes()
        (tmp_path / "p" / name).write_bytes(content[: len(content) // 2] if name == "2.jpg" else b"BM")
    with open_frames(tmp_path / "p") as source:
        assert len(list(source)) == 2
    assert sum(source.skipped.values()) == 2


def test_only_bad_pictures(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(MediaError, match="cannot be read"):
        list(open_frames(tmp_path))
    with pytest.raises(ImageError):
        read_image(tmp_path / "1.jpg")
    with pytest.raises(ImageError, match=r"got .*2\.jpg"):
        read_image(tmp_path / "2.jpg")


@pytest.mark.parametrize("name", ["", "nowhere.mp4", "*.png"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError):
        open_frames(tmp_path / name)


def test_a_folder_of_bags_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.bag").write_bytes(b"")
    with pytest.raises(MediaError, match=r"with a\.bag; name one"):
        open_frames(tmp_path)


def test_topics_are_for_bags(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="leave the topic out"):
        open_frames(write_video(tmp_path / "a.mp4"), topic="/image")


@pytest.mark.parametrize("device", ["73", 73, "/dev/video73"])
def test_absent_camera(device: str | int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MediaError, match="camera at index 73"):
        open_frames(device)
    assert capfd.readouterr().err == ""  # nor does OpenCV say anything beside it


def test_natural_order_compares_any_names() -> None:
    names = [Path(n) for n in ["b", "10", "9", "a10b2", "a9", "", "²"]]
    assert [p.name for p in sorted(names, key=natural_key)][:3] == ["", "9", "10"]


def test_real_video(driving_data: Path) -> None:
    with open_frames(driving_data / "videos" / "solidWhiteRight_960x540.mp4") as source:
        assert source.count == sum(1 for _ in source) == 221
