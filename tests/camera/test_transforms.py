"""A camera's mounting from static transforms: the same as the mount they were made of, or a reason."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.camera import Mount
from rtseg.camera.transforms import StaticTransforms, describe, differ
from rtseg.errors import CalibrationError

OPTICAL = (-0.5, 0.5, -0.5, 0.5)  # of a camera's body to its optical frame, as every URDF has it


def quaternion(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Of a URDF's rpy, x y z w."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a / 2), math.sin(a / 2)) for a in (roll, pitch, yaw))
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def transform(parent: str, child: str, place: Any = (0, 0, 0), turn: Any = (0, 0, 0, 1)) -> Any:
    """As geometry_msgs/TransformStamped."""
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(**dict(zip("xyz", place, strict=True))),
            rotation=SimpleNamespace(**dict(zip("xyzw", turn, strict=True))),
        ),
    )


def robot(mount: Mount, axle: float = 0.3) -> list[Any]:
    """Footprint, axle, camera and its optical frame, as a robot's description tells them."""
    place = (*mount.position, mount.height - axle)
    return [
        transform("camera", "camera_optical", turn=OPTICAL),
        transform("base_link", "base_footprint", (0.0, 0.0, -axle)),
        transform("base_link", "camera", place, quaternion(mount.roll, mount.pitch, mount.yaw)),
    ]


ANGLE = st.floats(-1.2, 1.2)


@given(st.floats(0.4, 3.0), ANGLE, ANGLE, ANGLE, st.floats(-2, 3), st.floats(-1, 1))
def test_a_robots_description_gives_the_mount_it_tells(
    height: float, pitch: float, roll: float, yaw: float, forward: float, left: float
) -> None:
    mount = Mount(height, pitch, roll, yaw, (forward, left))
    told = StaticTransforms().with_added(robot(mount)[:1]).with_added(robot(mount)[1:])
    found = told.mount("/base_footprint", "camera_optical")
    assert found is not None
    np.testing.assert_allclose(found.rotation(), mount.rotation(), atol=1e-9)
    assert (found.height, *found.position) == pytest.approx((height, forward, left))
    assert not differ(found, mount)
    assert told.mount("base_footprint", "other") is None
    assert told.mount("other", "camera_optical") is None
    assert told.mount("base_footprint", "") is None


def test_what_cannot_be_is_left_out_or_told() -> None:
    mount = Mount(1.4, 0.05, position=(1.0, 0.0))
    told = StaticTransforms().with_added(robot(mount))
    with pytest.raises(CalibrationError, match=r"straight up .* optical frame"):
        told.mount("base_footprint", "camera")
    with pytest.raises(CalibrationError, match=r"above base_link.* origin on the ground"):
        StaticTransforms().with_added(robot(Mount(0.2), axle=0.3)).mount("base_link", "camera_optical")
    broken = [transform("a", "b", (math.nan, 0, 0)), transform("a", "b", turn=(0, 0, 0, 0))]
    assert not StaticTransforms().with_added(broken).parents
    loop = StaticTransforms().with_added([transform("a", "b"), transform("b", "a"), transform("c", "d")])
    assert loop.mount("c", "b") is None


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        (Mount(1.42, 0.05), False),
        (Mount(1.48, 0.05), True),
        (Mount(1.4, 0.06), True),
        (Mount(1.4, 0.05, yaw=-0.02), True),
        (Mount(1.4, 0.05, yaw=2 * math.pi), False),
        (Mount(1.4, 0.05, position=(0.5, 0.0)), True),
    ],
)
def test_mounts_differ_by_what_they_make_of_a_road(other: Mount, apart: bool) -> None:
    assert differ(Mount(1.4, 0.05), other) == apart
    assert "height 1.40 m, pitch 2.9" in describe(Mount(1.4, 0.05))
