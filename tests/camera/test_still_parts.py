"""What stands still while the road moves is found, and the road is not: neither its solid line nor its horizon."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rtseg.camera.still_parts import StillParts
from rtseg.frame import Frame

HEIGHT, WIDTH = 144, 256


def frames(
    count: int, bonnet: bool = True, text: bool = True, line: bool = True, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> list[Frame]:
    """A road whose surface moves under a sky that does not, kept to so well that its solid line never moves."""
    rng = np.random.default_rng(3)
    made = []
    for k in range(count):
        image = np.full((HEIGHT, WIDTH, 3), 170, np.uint8)
        image[HEIGHT // 2 :] = cv2.GaussianBlur(rng.integers(40, 160, (HEIGHT // 2, WIDTH, 3), np.uint8), (0, 0), 1.2)
        if line:
            cv2.line(image, (WIDTH // 2, HEIGHT // 2), (30, HEIGHT), (255, 255, 255), 3)
        if bonnet:
            cv2.ellipse(image, (WIDTH // 2, HEIGHT + 20), (WIDTH * 7 // 10, 40), 0, 180, 360, (15, 15, 15), -1)
        if text:
            cv2.putText(image, "CAM 1 FRONT", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
        made.append(Frame(image, k * 250_000_000))
    return made


def bonnet_pixels() -> np.ndarray:
    bonnet = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(bonnet, (WIDTH // 2, HEIGHT + 20), (WIDTH * 7 // 10, 40), 0, 180, 360, 1, -1)
    return bonnet > 0


def learned(parts: StillParts, seen: list[Frame], moving: bool | None = True) -> list[bool]:
    return [parts.update(frame, moving) for frame in seen]


def test_bonnet_and_text_are_found_and_the_line_is_not() -> None:
    parts = StillParts()
    assert sum(learned(parts, frames(40))) == 2
    mask = parts.mask
    assert mask is not None
    assert mask[bonnet_pixels()].all()
    assert mask[4:14, 8:70].mean() > 0.8
    road = mask[HEIGHT // 2 : HEIGHT - 40]
    assert not road.any()
    assert mask.mean() < 0.3


def test_a_bonnet_is_known_after_three_seconds_even_beneath_a_line_that_runs_onto_it() -> None:
    parts = StillParts()
    seen = frames(12)
    for frame in seen:
        cv2.line(frame.image, (WIDTH // 2 - 20, HEIGHT // 2), (60, HEIGHT - 13), (255, 255, 255), 9)
        frame.image[HEIGHT - 14 :, 52:68] = 255
    assert sum(learned(parts, seen)) == 1
    assert parts.mask is not None
    assert parts.mask[bonnet_pixels()].all()
    assert not parts.mask[: HEIGHT - 30].any()


def faint_at_the_sides(seen: list[Frame]) -> list[Frame]:
    """The bonnet of these frames is as bright as the road in a third of the width, and a short line lies there."""
    rng = np.random.default_rng(5)
    for frame in seen:
        for side in (slice(0, WIDTH // 6), slice(-WIDTH // 6, None)):
            part = frame.image[HEIGHT // 2 :, side]
            part[:] = cv2.GaussianBlur(rng.integers(40, 160, part.shape, np.uint8), (0, 0), 1.2)
        cv2.line(frame.image, (WIDTH - 30, HEIGHT - 42), (WIDTH - 1, HEIGHT - 36), (255, 255, 255), 2)
    return seen


def test_a_bonnet_that_is_known_stays_when_its_sides_grow_faint() -> None:
    seen = frames(40, line=False)
    parts = StillParts()
    learned(parts, [*seen[:12], *faint_at_the_sides(seen[12:])])
    assert parts.mask is not None
    assert parts.mask[bonnet_pixels()].mean() > 0.98
    assert not parts.mask[HEIGHT // 2 : HEIGHT - 50].any()
    # Beforehand the same is not enough to be one.
    parts = StillParts()
    learned(parts, faint_at_the_sides(frames(12, line=False)))
    assert parts.mask is not None
    assert not parts.mask[HEIGHT // 2 :].any()


@pytest.mark.parametrize("moving", [False, None])
def test_a_vehicle_that_stands_teaches_nothing(moving: bool | None) -> None:
    parts = StillParts()
    assert not any(learned(parts, frames(60), moving))
    assert parts.mask is None


def test_a_road_alone_gives_an_empty_mask() -> None:
    parts = StillParts()
    learned(parts, frames(40, bonnet=False, text=False))
    assert parts.mask is not None
    assert not parts.mask.any()


def test_another_size_is_learned_anew() -> None:
    parts = StillParts()
    learned(parts, frames(40))
    other = frames(40, bonnet=False, text=False, size=(2 * HEIGHT, 2 * WIDTH))
    assert parts.update(other[0], True)
    assert parts.mask is None
    learned(parts, other[1:])
    assert parts.mask is not None
    assert not parts.mask.any()
