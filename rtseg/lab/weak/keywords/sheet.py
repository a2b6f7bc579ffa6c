"""Pictures to judge labels by: what got each tag, what was rejected, and frames with their labels on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.data.selection import evenly
from rtseg.lab.weak.annotations import Proposals
from rtseg.media.images import read_image
from rtseg.media.overlay import color_of

_THUMB = 112
_GRID = (6, 8)  # rows, columns of a sheet
_GRAY = (150, 150, 150)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

Image = NDArray[np.uint8]


def tag_sheet(
    paths: Sequence[Path], proposals: Proposals, members: NDArray[np.integer], captions: Sequence[str], title: str
) -> Image:
    """A sheet of up to 48 instances, evenly from `members`, each with its outline.

    Args:
        paths: pictures of `proposals.names`.
        proposals: all instances.
        members: (k,) which of them.
        captions: a short line for each of the k.
        title: of the sheet.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    rows, columns = _GRID
    shown = evenly(range(len(members)), rows * columns)
    rows = max(1, -(-len(shown) // columns))
    cell = _THUMB + 18
    canvas = np.full((28 + rows * cell, columns * _THUMB, 3), 24, np.uint8)
    cv2.putText(canvas, title, (8, 20), _FONT, 0.55, (245, 245, 245), 1, cv2.LINE_AA)
    for place, k in enumerate(shown):
        top, left = 28 + place // columns * cell, place % columns * _THUMB
        canvas[top : top + _THUMB, left : left + _THUMB] = _thumbnail(paths, proposals, int(members[k]))
        cv2.putText(canvas, captions[k], (left + 4, top + _THUMB + 13), _FONT, 0.38, (210, 210, 210), 1, cv2.LINE_AA)
    return canvas


def draw_tags(
    image: Image, proposals: Proposals, frame: int, tags: NDArray[np.integer], classes: Sequence[str]
) -> Image:
    """A frame with its tagged instances in their class's color, and the rejected ones in gray outline."""
    canvas = image.copy()
    members = proposals.of_frame(frame)
    # The largest first, so that the small ones before them stay visible.
    for j in sorted(members, key=lambda j: -int(proposals.areas[j])):
        mask, tag = proposals.mask(j), int(tags[j])
        color = color_of(tag + 1) if tag >= 0 else _GRAY
        if tag >= 0:
            canvas[mask] = (0.5 * canvas[mask] + 0.5 * np.array(color)).astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, color, 1, cv2.LINE_AA)
    for j in members:
        tag = int(tags[j])
        x, y = proposals.boxes[j, :2].astype(int).tolist()
        text = classes[tag] if tag >= 0 else "rejected"
        color = color_of(tag + 1) if tag >= 0 else _GRAY
        cv2.putText(canvas, text, (x, max(y - 3, 9)), _FONT, 0.4, (16, 16, 16), 3, cv2.LINE_AA)
        cv2.putText(canvas, text, (x, max(y - 3, 9)), _FONT, 0.4, color, 1, cv2.LINE_AA)
    return canvas


def draw_attention(image: Image, attention: NDArray[np.float32], classes: Sequence[str]) -> Image:
    """The frame once for each keyword, side by side, bright where the attention module sees it.

    Args:
        image: (H, W, 3) uint8.
        attention: (k, h, w) in [0, 1].
        classes: their k names.
    """
    height, width = image.shape[:2]
    size = (320, max(1, round(320 * height / width)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    panels = []
    for one, name in zip(attention, classes, strict=True):
        heat = cv2.resize(one, size, interpolation=cv2.INTER_LINEAR)
        colors = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
        panel = cv2.addWeighted(small, 0.5, colors, 0.7, 0)
        cv2.putText(panel, f"{name} {one.max():.2f}", (8, 18), _FONT, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        panels.append(panel)
    return np.asarray(np.concatenate([small, *panels], axis=1), np.uint8)


def _thumbnail(paths: Sequence[Path], proposals: Proposals, instance: int) -> Image:
    """The surroundings of an instance as a square, its mask outlined."""
    image = read_image(paths[int(proposals.frames[instance])])
    x0, y0, x1, y1 = proposals.boxes[instance].astype(int).tolist()
    side = max(x1 - x0, y1 - y0) * 1.3
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    scale = _THUMB / side
    move = np.array([[scale, 0, _THUMB / 2 - scale * middle[0]], [0, scale, _THUMB / 2 - scale * middle[1]]])
    size = (_THUMB, _THUMB)
    thumb = np.asarray(cv2.warpAffine(image, move, size, flags=cv2.INTER_AREA, borderValue=(24, 24, 24)), np.uint8)
    mask = cv2.warpAffine(proposals.mask(instance).astype(np.uint8), move, size, flags=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(thumb, outlines, -1, (60, 230, 250), 1, cv2.LINE_AA)
    return thumb
