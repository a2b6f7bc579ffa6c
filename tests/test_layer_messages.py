"""Lane lines as Nav2's semantic segmentation layer reads them: each pixel lies where the road's geometry has it."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.camera import Camera, Mount
from rtseg.lab.render.road import grid, trace
from rtseg.lab.render.truth import paint_mask
from rtseg.lab.render.view import View
from rtseg.lanes import EgoLane, GroundPlane
from rtseg.messages import ground_points, line_confidence, line_labels, line_mask, point_fields
from rtseg.results import Lanes

ALONG = np.arange(4.0, 60.0, 0.02)
ASIDE = {9: 5.25, 4: 1.75, 7: -1.75}  # metres to the left of the middle, by id
CONFIDENCE = {9: 0.0, 4: 1.0, 7: 0.5}
EGO = EgoLane(4, 7, 1.75, 1.75)


def _camera(size: tuple[int, int], mount: Mount) -> Camera:
    width, height = size
    matrix = [[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1]]
    return Camera(width, height, np.array(matrix), np.array([-0.05, 0.01, 0, 0, 0]), mount)


def _road(camera: Camera, bend: float) -> tuple[Lanes, dict[int, np.ndarray]]:
    """The lines as the renderer of roads sees them, and where they are, in metres."""
    view, shape = View(camera), trace(np.full(grid().size, bend), np.zeros(grid().size), 0.2, 0.02)
    truth = {identity: shape.points(ALONG, aside) for identity, aside in ASIDE.items()}
    seen = []
    for points in truth.values():
        line = view.project(points)[0][::-1]
        inside = ((line >= 0) & (line < (camera.width, camera.height))).all(axis=1)
        line = line[inside]
        seen.append(line.astype(np.float32)[np.r_[True, np.diff(line[:, 1]) > 1e-4]])
    mask = paint_mask(seen, list(ASIDE), (camera.height, camera.width))
    return Lanes(mask, np.int32(list(ASIDE)), np.float32(list(CONFIDENCE.values())), tuple(seen)), truth


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1921, 1079)])
@pytest.mark.parametrize(("mount", "bend"), [(Mount(1.4, 0.04), 0.0), (Mount(2.1, 0.08, 0.02, -0.03), 0.004)])
def test_pixels_of_lines_lie_on_the_lines(size: tuple[int, int], mount: Mount, bend: float) -> None:
    camera = _camera(size, mount)
    lanes, truth = _road(camera, bend)
    cloud, mask, confidence = ground_points(GroundPlane(camera)), line_mask(lanes, EGO), line_confidence(lanes)
    assert cloud.shape == mask.pixels.shape == confidence.pixels.shape
    assert cloud.shape[1] <= 640
    assert {mask.encoding, confidence.encoding} == {"mono8"}
    at = np.stack([cloud["x"], cloud["y"]], axis=-1)
    for identity, points in truth.items():
        kind = 1 if identity == 9 else 2
        value = round(1 + 254 * CONFIDENCE[identity])
        mine = (mask.pixels == kind) & (confidence.pixels == value) & (at[..., 0] < 20)
        assert mine.sum() > 50
        apart = at[mine][:, None] - points[None, ::5, :2]
        off = np.sqrt(np.square(apart).sum(axis=2).min(axis=1))
        assert np.median(off) < 0.08
        assert off.max() < 0.3  # the mask's lines are wider than paint
    assert set(np.unique(mask.pixels)) == set(line_labels())
    assert (confidence.pixels > 0).tolist() == (mask.pixels > 0).tolist()


def test_what_is_not_near_ground_has_no_point() -> None:
    camera = _camera((1280, 720), Mount(1.4, 0.04))
    cloud = ground_points(GroundPlane(camera))
    gone = np.isnan(np.stack([cloud[name] for name in "xyz"]))
    assert (gone.all(axis=0) == gone.any(axis=0)).all()
    middle = gone[0, :, cloud.shape[1] // 2]
    horizon = camera.K[1, 2] - np.tan(0.04) * camera.K[1, 1]
    assert middle[: round(horizon / 2)].all()
    assert not middle[round(horizon / 2) + 40 :].any()
    assert 25 < np.nanmax(cloud["x"]) < 30
    assert not np.nanmax(np.abs(cloud["z"]))
    assert point_fields(cloud.dtype) == [("x", 0, 7), ("y", 4, 7), ("z", 8, 7)]


def test_without_lines_all_is_background() -> None:
    nothing = Lanes(np.zeros((4, 6), np.uint8), np.int32([]), np.float32([]), ())
    assert not line_mask(nothing, EgoLane()).pixels.any()
    assert not line_confidence(nothing).pixels.any()
