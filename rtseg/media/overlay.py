"""Results drawn over their image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.frame import check_image
from rtseg.label_image import look_up
from rtseg.results import Instances, Lanes, class_name

Image = NDArray[np.uint8]

# BGR, far apart from one neighbor to the next and bright enough for asphalt by day and by night.
_PALETTE = np.array(
    [
        (80, 200, 60),
        (40, 140, 255),
        (255, 170, 40),
        (180, 80, 255),
        (60, 220, 250),
        (230, 90, 90),
        (210, 220, 50),
        (110, 110, 255),
        (140, 240, 170),
        (245, 150, 220),
        (50, 180, 200),
        (255, 220, 150),
    ],
    dtype=np.uint8,
)
_OPACITY = 0.5
_FONT = cv2.FONT_HERSHEY_DUPLEX
_BOUNDARY = {-1: "left", 1: "right"}  # of the own lane, by Lanes.sides
_SHIFT = 3  # polylines are drawn with eighths of a pixel


def color_of(identity: int) -> tuple[int, int, int]:
    """BGR color of an id; the same id has the same color in every frame."""
    b, g, r = _PALETTE[(identity - 1) % len(_PALETTE)].tolist()
    return b, g, r


def _color_table() -> NDArray[np.uint8]:
    table = _PALETTE[(np.arange(256) - 1) % len(_PALETTE)]
    table[0] = 0
    return np.ascontiguousarray(table[:, None, :])


_COLORS = _color_table()


def draw_lanes(image: Image, lanes: Lanes, caption: str | None = None, note: str = "") -> Image:
    """Draw lanes over the image they were found in.

    Args:
        image: (H, W, 3) uint8 BGR; left as it is.
        lanes: what to draw: the own lane lit up, translucent masks, center lines, and at the foot of each line its id,
            confidence (where it is not NaN), which boundary of the own lane it is, and whether it is solid or dashed.
        caption: text of the legend; by default latency, rate and the number of lanes. Empty for none.
        note: more text behind the legend's, such as :meth:`rtseg.lanes.EgoLane.describe` gives.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: it is no image.
    """
    sides = lanes.sides
    canvas = _paint_masks(_light_lane(check_image(image), lanes, sides), lanes.mask)
    scale = canvas.shape[0] / 720
    for identity, line in zip(lanes.ids, lanes.polylines, strict=True):
        points = np.rint(line * (1 << _SHIFT)).astype(np.int32)[:, None]
        b, g, r = ((c + 2 * 255) // 3 for c in color_of(int(identity)))
        cv2.polylines(canvas, [points], False, (b, g, r), max(1, round(2 * scale)), cv2.LINE_AA, _SHIFT)
    placed: list[tuple[int, int, int, int]] = []
    described = zip(lanes.ids, lanes.confidence, lanes.polylines, sides, lanes.markings, strict=True)
    for identity, confidence, line, side, marking in described:
        if len(line):
            sure = "" if np.isnan(confidence) else f"{100 * confidence:.0f}%"
            tag = "  ".join(filter(None, (f"{identity}", sure, _BOUNDARY.get(side, ""), marking)))
            _draw_tag(canvas, tag, line[-1], color_of(int(identity)), scale, placed)
    legend = _legend(lanes, "lane") if caption is None else caption
    _draw_legend(canvas, "   ".join(filter(None, (legend, note))), scale)
    return canvas


def draw_instances(
    image: Image, instances: Instances, classes: tuple[str, ...] = (), caption: str | None = None
) -> Image:
    """Draw instances over their image: translucent masks, boxes, and class, id and score.

    Args:
        image: (H, W, 3) uint8 BGR; left as it is.
        instances: what to draw; scores that are NaN are left out.
        classes: names by class id; numbers where there is none.
        caption: text of the legend, as in :func:`draw_lanes`.

    Raises:
        ImageError: it is no image.
    """
    # A whole number of palettes, so that masks have the color of their boxes whatever their ids.
    colors = (instances.ids - 1) % (255 // len(_PALETTE) * len(_PALETTE)) + 1
    canvas = _paint_masks(check_image(image), look_up(instances.labels, colors, np.uint8))
    scale = canvas.shape[0] / 720
    placed: list[tuple[int, int, int, int]] = []
    for i, identity in enumerate(instances.ids.tolist()):
        x0, y0, x1, y1 = np.rint(instances.boxes[i]).astype(int).tolist()
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), color_of(identity), max(1, round(2 * scale)), cv2.LINE_AA)
        kind = int(instances.class_ids[i])
        name = class_name(classes, kind)
        foot = np.array([x0 + (x1 - x0) / 2, y0])
        score = instances.scores[i]
        tag = f"{name} {identity}" if np.isnan(score) else f"{name} {identity}  {100 * score:.0f}%"
        _draw_tag(canvas, tag, foot, color_of(identity), scale, placed)
    _draw_legend(canvas, _legend(instances, "object") if caption is None else caption, scale)
    return canvas


def _light_lane(image: Image, lanes: Lanes, sides: NDArray[np.int32]) -> Image:
    """Light up the own lane where both of its boundaries are in sight."""
    bounds = [line for line, side in zip(lanes.polylines, sides, strict=True) if side in _BOUNDARY and len(line) > 1]
    if len(bounds) < 2:
        return image
    top, bottom = max(line[0, 1] for line in bounds), min(line[-1, 1] for line in bounds)
    rows = np.arange(np.ceil(top), np.floor(bottom) + 1)
    if len(rows) < 2:
        return image
    left, right = (np.stack([np.interp(rows, line[:, 1], line[:, 0]), rows], axis=1) for line in bounds)
    polygon = np.rint(np.concatenate([left, right[::-1]])).astype(np.int32)
    canvas = np.array(image, order="C")
    x0, x1 = int(max(polygon[:, 0].min(), 0)), int(polygon[:, 0].max()) + 1
    part = canvas[int(rows[0]) : int(rows[-1]) + 1, x0:x1]
    inside = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(inside, [polygon - (x0, int(rows[0]))], 255)
    cv2.copyTo(cv2.addWeighted(part, 0.8, np.full_like(part, 255), 0.2, 0), inside, part)
    return canvas


def _paint_masks(image: Image, mask: NDArray[np.uint8]) -> Image:
    canvas = np.array(image, order="C")
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return canvas
    band = slice(int(rows[0]), int(rows[-1]) + 1)
    part, ids = canvas[band], mask[band]
    mixed = cv2.addWeighted(part, 1 - _OPACITY, cv2.applyColorMap(ids, _COLORS), _OPACITY, 0)
    cv2.copyTo(mixed, ids, part)
    return canvas


def _legend(result: Lanes | Instances, noun: str) -> str:
    total = sum(result.times.values())
    count = counted(len(result), noun)
    return f"{total:.1f} ms   {1e3 / total:.0f} fps   {count}" if total > 0 else count


def _draw_tag(
    canvas: Image,
    text: str,
    foot: NDArray[np.floating],
    color: tuple[int, int, int],
    scale: float,
    placed: list[tuple[int, int, int, int]],
) -> None:
    """Put a small label near `foot`, above labels that are already there."""
    height, width = canvas.shape[:2]
    size = max(0.35, 0.55 * scale)
    (w, h), _ = cv2.getTextSize(text, _FONT, size, 1)
    pad = max(2, round(6 * scale))
    w, h = w + 2 * pad, h + 2 * pad
    x = int(np.clip(foot[0] - w / 2, 0, max(0, width - w)))
    y = int(np.clip(foot[1] - h - 2 * pad, 0, max(0, height - h)))
    while y > 0 and any(x < px + pw and px < x + w and y < py + ph and py < y + h for px, py, pw, ph in placed):
        y = max(0, y - h - 2)
    placed.append((x, y, w, h))
    cv2.rectangle(canvas, (x, y), (x + w, y + h), color, cv2.FILLED)
    cv2.putText(canvas, text, (x + pad, y + h - pad), _FONT, size, (16, 16, 16), 1, cv2.LINE_AA)


def _draw_legend(canvas: Image, text: str, scale: float) -> None:
    if not text:
        return
    size = max(0.4, 0.6 * scale)
    (w, h), _ = cv2.getTextSize(text, _FONT, size, 1)
    margin, pad = max(4, round(16 * scale)), max(4, round(10 * scale))
    panel = canvas[margin : margin + h + 2 * pad, margin : margin + w + 2 * pad]
    panel[:] = panel // 3
    origin = (margin + pad, margin + pad + h)
    cv2.putText(canvas, text, origin, _FONT, size, (245, 245, 245), 1, cv2.LINE_AA)
