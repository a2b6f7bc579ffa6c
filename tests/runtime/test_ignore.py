"""What is not road is told by a picture or by polygons, and nothing is found there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from rtseg.cli import app
from rtseg.errors import ArgumentError, ConfigError, ImageError, MediaError, RtsegError
from rtseg.frame import Frame
from rtseg.loading import load
from rtseg.runtime.ignore import IgnoreMask
from tests.instance_networks import paint, write_instance_model
from tests.threshold_network import two_lane_road

RIGHT_HALF = "polygons: [[[0.5, 0], [1, 0], [1, 1], [0.5, 1]]]"


@pytest.fixture
def right_half(tmp_path: Path) -> Path:
    path = tmp_path / "right.yaml"
    path.write_text(RIGHT_HALF)
    return path


def test_pictures_of_every_kind_and_polygons_say_the_same(tmp_path: Path, right_half: Path) -> None:
    picture = np.zeros((60, 80), np.uint8)
    picture[:, 40:] = 255
    opaque = np.full((60, 80), 255, np.uint8)
    for name, content in (
        ("gray.png", picture),
        ("color.png", np.repeat(picture[..., None], 3, axis=2)),
        ("alpha.png", np.dstack([picture, picture * 0, picture * 0, opaque])),
        ("deep.tiff", picture.astype(np.uint16)),
    ):
        cv2.imwrite(str(tmp_path / name), content)
        for size in ((30, 40), (720, 1280)):
            np.testing.assert_array_equal(
                IgnoreMask.load(tmp_path / name).at(size), IgnoreMask.load(right_half).at(size)
            )
    assert IgnoreMask.load(right_half).at((10, 20)).sum() == 100


def test_a_part_of_the_frame_has_its_part_of_the_mask() -> None:
    mask = np.zeros((100, 10), bool)
    mask[60:] = True
    assert IgnoreMask(mask).below(0.5).at((50, 10)).sum() == 400
    assert IgnoreMask(mask).below(0.0).at((100, 10)).sum() == 400
    assert IgnoreMask(mask).below(0.9).at((10, 10)).all()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("none.png", None, MediaError),
        ("none.yaml", None, MediaError),
        ("empty.png", b"", ImageError),
        ("text.png", b"not a picture", ImageError),
        ("cut.png", cv2.imencode(".png", np.eye(99, dtype=np.uint8))[1].tobytes()[:-20], ImageError),
        ("mask.jpg", b"", ConfigError),
        ("bad.yaml", b"polygons: [", ConfigError),
        ("bytes.yaml", b"\xff\xfe", ConfigError),
        ("list.yaml", b"[1, 2]", ConfigError),
        ("two.yaml", b"polygons: [[[0, 0], [1, 1]]]", ConfigError),
        ("pixels.yaml", b"polygons: [[[0, 0], [640, 0], [640, 480]]]", ConfigError),
        ("nan.yaml", b"polygons: [[[0, 0], [.nan, 0], [1, 1]]]", ConfigError),
        ("all.yaml", b"polygons: [[[0, 0], [1, 0], [1, 1], [0, 1]]]", ConfigError),
    ],
)
def test_what_is_no_mask_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, error: type[RtsegError]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error):
        IgnoreMask.load(path)
    with pytest.raises(ArgumentError):
        IgnoreMask(np.zeros((0, 4), bool))


@pytest.mark.parametrize("name", ["pipe.png", "pipe.yaml"])
def test_a_mask_that_is_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(MediaError, match=name):
        IgnoreMask.load(tmp_path / name)


def test_no_line_is_found_where_it_is_ignored(model_folder: Callable[..., Path], right_half: Path) -> None:
    road = two_lane_road()
    everything, part = load(model_folder())(road), load(model_folder(), ignore=right_half)(road)
    assert len(everything) == 2
    assert len(part) == 1
    np.testing.assert_array_equal(part.polylines[0], everything.polylines[0])
    assert not part.mask[:, 128:].any()


def test_a_line_is_cut_where_ignored_pixels_begin(model_folder: Callable[..., Path]) -> None:
    road = two_lane_road()
    bonnet = np.zeros(road.shape[:2], bool)
    bonnet[100:] = True
    found = load(model_folder(), ignore=IgnoreMask(bonnet))(road)
    assert len(found) == 2
    assert all(line[:, 1].max() < 100 for line in found.polylines)


def test_no_object_is_found_where_it_is_ignored(tmp_path: Path) -> None:
    model = write_instance_model(tmp_path / "m", "graph_merge")
    image, _ = paint([(1, 0, (8, 16, 40, 48)), (0, 0, (56, 16, 72, 48)), (1, 2, (88, 8, 120, 56))])
    mask = np.zeros(image.shape[:2], bool)
    mask[:, 64:] = True
    everything, part = load(model)(image), load(model, ignore=IgnoreMask(mask))(image)
    assert (len(everything), len(part)) == (3, 2)
    assert part.boxes[:, 2].max() <= 64
    assert not part.labels[:, 64:].any()
    np.testing.assert_array_equal(part.labels[:, :50] > 0, everything.labels[:, :50] > 0)
    assert part.areas.tolist() == np.bincount(part.labels.reshape(-1))[1:].tolist()


def test_the_command_takes_a_mask(tmp_path: Path, model_folder: Callable[..., Path], right_half: Path) -> None:
    cv2.imwrite(str(tmp_path / "road.png"), two_lane_road())
    command = ["run", str(tmp_path / "road.png"), "--model", str(model_folder()), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, [*command, "--ignore", str(right_half)]).exit_code == 0
    done = CliRunner().invoke(app, [*command, "--ignore", str(tmp_path / "missing.png")])
    assert isinstance(done.exception, MediaError)


def test_what_stands_still_is_learned_while_driving_and_no_line_found_on_it(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    """Lines go on over the bonnet until that is known."""
    pipeline = load(model_folder(), ignore="auto")
    assert pipeline.learned is not None
    rng, lowest, whole = np.random.default_rng(3), [], two_lane_road()
    height, width = whole.shape[:2]
    for k in range(60):
        road = rng.integers(0, 60, whole.shape, np.uint8) + whole // 2 + whole // 4
        road[-30:][whole[-30:].max(axis=2) < 128] = 90
        found = pipeline(Frame(road, k * 250_000_000))
        lowest.append(max((float(line[-1, 1]) for line in found.polylines), default=0.0))
    assert max(lowest[:30]) > height - 10
    assert max(lowest[-10:]) < height - 29
    assert pipeline.learned.found
    path = tmp_path / "learned.png"
    pipeline.learned.save(path)
    np.testing.assert_array_equal(IgnoreMask.load(path).at((height, width)), pipeline.learned.at((height, width)))
    np.testing.assert_array_equal(
        pipeline.learned.below(0.5).at((20, 30)), IgnoreMask.load(path).below(0.5).at((20, 30))
    )
