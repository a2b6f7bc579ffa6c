"""YOLO's instance segmentation: a table of boxes, scores and coefficients, and the prototypes that they weigh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.compiled import compiled
from rtseg.errors import GroupingError, ModelError
from rtseg.grouping.prototypes import Detections, PrototypeMasks, suppressed
from rtseg.instances.methods.method import GroupingParameters, Method
from rtseg.instances.methods.outputs import listed_outputs, pixels_of
from rtseg.instances.methods.warm_up import paint_nothing, warm_up_maps
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import Window, window_of
from rtseg.runtime.interpreter import HeadMaps
from rtseg.settings import Probability

Layout = Literal["classes", "objectness", "selected"]

BEFORE_CLASSES: dict[Layout, int] = {"classes": 4, "objectness": 5, "selected": 6}
"""Columns of a table that hold neither the scores of classes nor coefficients."""

_CANDIDATES = 3000  # the surest that suppression looks at: more are garbage, which must not cost a frame its time


class YoloParameters(GroupingParameters):
    """How the table reads, and what of it counts.

    Attributes:
        layout: ``classes`` (v8, v11: middle, size, a score for each class), ``objectness`` (v5, v7: the same with a
            score for any object before those of classes) or ``selected`` (suppression inside: corners, score, class);
            coefficients follow in all of them. The table may stand either way.
        min_score: objects less sure are left out.
        overlap: boxes of one class that overlap a surer one by more are left out, but of ``selected``.
        max_objects: at most, the surest.
    """

    layout: Layout = "classes"
    min_score: Probability = 0.25
    overlap: Probability = 0.7
    max_objects: Annotated[int, Field(ge=1, le=1024)] = 300


@dataclass(frozen=True)
class PrototypeInstances:
    """Objects that are painted at the size of a frame, without masks of their own in between."""

    found: Detections
    masks: PrototypeMasks
    kept: NDArray[np.intp]
    window: Window

    @property
    def class_ids(self) -> NDArray[np.int32]:
        """(n,) indices of the card's classes."""
        return self.found.class_ids[self.kept]

    @property
    def scores(self) -> NDArray[np.float32]:
        """(n,) in [0, 1]."""
        return self.found.scores[self.kept]

    def labels_at(self, size: tuple[int, int]) -> NDArray[np.int32]:
        """Labels (H, W) int32, the surer object in front."""
        window = self.window
        return self.masks.paint(size, (window.top, window.left, window.height, window.width), self.kept)


class YoloSeg:
    """Boxes above a score, suppressed within their class, and their masks."""

    def __init__(self, card: ModelCard, parameters: YoloParameters) -> None:
        tables = [output for output in card.outputs if output.kind == "detections"]
        maps = [output for output in card.outputs if output.kind == "prototypes" and output.shape is None]
        if len(tables) != 1 or len(maps) != 1 or tables[0].shape is None or len(tables[0].shape) != 3:
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method}, expected an output of kind detections and "
                f"shape (1, a, b) and a map of kind prototypes, got {listed_outputs(card)}"
            )
        self._table, self._prototypes = tables[0].name, maps[0].name
        self._needs, self._stride, self._parameters = card.input, maps[0].stride, parameters
        self._classes = len(card.classes)
        self._least = pixels_of(parameters.min_area, self._stride)
        self._upright = columns_first(tables[0].shape, parameters.layout, self._classes, maps[0].channels)
        if self._upright is None:
            columns = BEFORE_CLASSES[parameters.layout] + maps[0].channels
            columns += self._classes * (parameters.layout != "selected")
            raise ModelError(
                f"the card of {card.name} does not fit: expected a table of {columns} columns for layout "
                f"{parameters.layout}, {self._classes} classes and {maps[0].channels} prototypes, got {tables[0].name} "
                f"of {tables[0].shape}"
            )

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> PrototypeInstances:
        table = maps[self._table][0]
        found = self._detections(table if self._upright else table.T)
        masks = PrototypeMasks(found, maps[self._prototypes][0], self._stride)
        kept = np.flatnonzero(masks.areas() >= self._least)
        return PrototypeInstances(found, masks, kept, window_of(self._needs, size))

    def _detections(self, table: NDArray[np.float32]) -> Detections:
        """The objects of a table (columns, n)."""
        settings, before = self._parameters, BEFORE_CLASSES[self._parameters.layout]
        if settings.layout == "selected":
            scores, class_ids = table[4], table[5]
            valid = np.isfinite(scores).all() and np.isfinite(class_ids[scores >= settings.min_score]).all()
            after = before
        else:
            after = before + self._classes
            objectness = table[4] if settings.layout == "objectness" else np.ones(table.shape[1], np.float32)
            best = _best_by_row if table.strides[0] < table.strides[1] else _best_by_column
            scores, class_ids, valid = best(table[before:after], objectness, np.float32(settings.min_score))
        if not valid:
            raise GroupingError("expected finite scores and classes, got others; check the network's weights")
        sure = np.flatnonzero(scores >= max(settings.min_score, np.float32(1e-6)))
        order = sure[np.argsort(-scores[sure], kind="stable")[:_CANDIDATES]]
        kinds = class_ids[order].astype(np.int32)
        if len(kinds) and not 0 <= kinds.min() <= kinds.max() < self._classes:
            raise GroupingError(
                f"expected classes 0 to {self._classes - 1}, got {kinds.min()} to {kinds.max()}; the card names too few"
            )
        boxes = np.ascontiguousarray(table[:4, order].T)
        if settings.layout != "selected":
            half = boxes[:, 2:] / 2
            boxes = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
        coefficients = np.ascontiguousarray(table[after:, order].T)
        if not np.isfinite(coefficients).all() or not np.isfinite(boxes).all():
            raise GroupingError("expected finite boxes and coefficients, got others; check the network's weights")
        found = Detections(boxes, kinds, np.clip(scores[order], 0, 1).astype(np.float32, copy=False), coefficients)
        return suppressed(found, 1.0 if settings.layout == "selected" else settings.overlap, settings.max_objects)


def columns_first(shape: tuple[int, ...], layout: Layout, classes: int, prototypes: int) -> bool | None:
    """Whether a table (1, a, b) of a layout has its columns along a; None where neither side has as many."""
    columns = BEFORE_CLASSES[layout] + prototypes + classes * (layout != "selected")
    if columns not in shape[1:]:
        return None
    # Where both sides are as long, v8 and its heirs have columns first, the others objects.
    return shape[1] == columns and (shape[2] != columns or layout == "classes")


@compiled
def _best_by_column(scores, objectness, least):  # type: ignore[no-untyped-def]
    """The best class of every column of (C, n), times its objectness; and whether all is finite."""
    best = scores[0].copy()
    which = np.zeros(best.size, np.int32)
    endless = 0  # bits, since sums in order are no vectors
    for c in range(scores.shape[0]):
        for x in range(best.size):
            value = scores[c, x]
            endless |= value - value != 0
            if value > best[x]:
                best[x] = value
                which[x] = c
    for x in range(best.size):
        best[x] *= objectness[x]
        endless |= best[x] - best[x] != 0
    return best, which, endless == 0


@compiled
def _best_by_row(scores, objectness, least):  # type: ignore[no-untyped-def]
    """The same where a column lies in one piece; classes of what is no object are not looked at."""
    best = np.zeros(scores.shape[1], np.float32)
    which = np.zeros(scores.shape[1], np.int32)
    endless = 0
    for x in range(scores.shape[1]):
        endless |= objectness[x] - objectness[x] != 0
        if objectness[x] < least:
            continue
        for c in range(scores.shape[0]):
            value = scores[c, x]
            endless |= value - value != 0
            if value > best[x]:
                best[x] = value
                which[x] = c
        best[x] *= objectness[x]
    return best, which, endless == 0


def _warm_up(card: ModelCard, parameters: YoloParameters) -> list[HeadMaps]:
    """Three objects side by side whose masks fill their boxes, in two frames."""
    frames = []
    for shift, maps in zip((0.0, 0.05), warm_up_maps(card, {"prototypes": paint_nothing}), strict=True):
        table = next(output for output in card.outputs if output.kind == "detections")
        prototypes = next(output for output in card.outputs if output.kind == "prototypes")
        maps[prototypes.name][:] = 1.0
        values = maps[table.name][0]
        shape = maps[table.name].shape
        upright = columns_first(shape, parameters.layout, len(card.classes), prototypes.channels)
        columns = values if upright else values.T
        width, height = card.input.width, card.input.height
        for number, start in enumerate((0.1, 0.3, 0.6)):
            if number < columns.shape[1]:
                columns[:, number] = 1.0
                left = (start + shift) * width
                if parameters.layout == "selected":
                    columns[:6, number] = left, 0.3 * height, left + 0.2 * width, 0.7 * height, 0.9, 0
                else:
                    columns[:4, number] = left + 0.1 * width, 0.5 * height, 0.2 * width, 0.4 * height
        frames.append(maps)
    return frames


METHOD = Method(
    name="yolo_seg",
    parameters=YoloParameters,
    outputs={"detections": paint_nothing, "prototypes": paint_nothing},
    grouping=YoloSeg,
    warm_up=_warm_up,
)
