"""Semantic segmentation: every class is a segment, or, where its objects are wanted, each of its components is."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import GroupingError, ModelError
from rtseg.grouping import GroupedInstances
from rtseg.grouping.grouped import renumber
from rtseg.instances.methods.method import GroupingParameters, MapInstances, Method, class_numbers
from rtseg.instances.methods.outputs import listed_outputs
from rtseg.instances.methods.warm_up import warm_up_maps
from rtseg.ops import label_components
from rtseg.ops.coloring import argmax_channels
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import window_of
from rtseg.runtime.interpreter import HeadMaps

MOST_CLASSES = 254
_FINE = 2  # pixels of a frame to one of a map: no outline has to be interpolated where there are no more
_SAMPLED = 1 << 13  # pixels of a map of which the confidence is taken; neighbors say the same


class SemanticParameters(GroupingParameters):
    """What becomes of the classes.

    Attributes:
        things: classes whose connected components are instances; each of the others is one segment.
        ignored: classes that are not shown, such as a background.
        scale: what the values of ``class_scores`` are. A class's confidence is its mean probability in the segment;
            that of ``class_ids``, which say nothing of it, is 1.
    """

    things: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    scale: Literal["logits", "probabilities"] = "logits"


class Semantic:
    """The strongest class of each pixel, of one output: ``class_scores``, a channel each, or ``class_ids``.

    One channel of scores alone is that of the only class against the rest.
    """

    def __init__(self, card: ModelCard, parameters: SemanticParameters) -> None:
        found = [output for output in card.outputs if output.kind in ("class_scores", "class_ids")]
        sides = found[0].sides(card.input) if found else ()
        classes = len(card.classes)
        if len(found) != 1 or len(sides) != 4 or sides[1] != (classes if found[0].kind == "class_scores" else 1):
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method} with {classes} classes, expected one output "
                f"of kind class_scores with a channel for each, or class_ids with one, got {listed_outputs(card)}"
            )
        if classes > MOST_CLASSES:
            raise ModelError(f"the card of {card.name} names {classes} classes, expected at most {MOST_CLASSES}")
        self._output, self._needs = found[0], card.input
        self._strides = card.input.height / sides[2], card.input.width / sides[3]
        self._is_thing, self._is_ignored = np.zeros(classes + 1, np.bool_), np.zeros(classes + 1, np.bool_)
        self._is_thing[1 + class_numbers(card, "things", parameters.things)] = True
        self._is_ignored[1 + class_numbers(card, "ignored", parameters.ignored)] = True
        self._logits = parameters.scale == "logits"
        self._rest = 0.0 if self._logits else 0.5  # what a single channel has to exceed
        self._least = max(1, round(parameters.min_area / (self._strides[0] * self._strides[1])))

    def __call__(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        window = window_of(self._needs, size)
        inside = window.rows(self._strides[0]), window.columns(self._strides[1])
        values = maps[self._output.name][0][:, inside[0], inside[1]]
        kinds = self._kinds_of_ids(values[0]) if self._output.kind == "class_ids" else self._strongest(values)
        found = kinds > 0
        kinds[self._is_ignored[kinds]] = 0
        labels, channels = self._segments(kinds)
        scores = np.ones(len(channels), np.float32)
        if self._output.kind == "class_scores":
            step = max(1, labels.size // _SAMPLED)
            scores = _confidence(values, self._rest, labels, len(channels), self._logits, step)
        fine = _FINE * labels.shape[0] >= size[0] and _FINE * labels.shape[1] >= size[1]
        if fine or self._output.kind == "class_ids":
            guide = np.stack([~found, found]).astype(np.float32)
        else:
            guide = self._with_no_class(values)
        return MapInstances(GroupedInstances(labels, channels - np.int32(1), scores), guide)

    def _kinds_of_ids(self, ids: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Numbers of classes (h, w) as 1 + the class; those beyond the classes, such as 255, are no class."""
        if not np.isfinite(ids).all():
            raise GroupingError("expected finite class numbers, got NaN or infinite values")
        known = (ids >= 0) & (ids < len(self._is_thing) - 1)
        return np.where(known, ids + 1, 0).astype(np.uint8)

    def _strongest(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """1 + the strongest class at each pixel; 0 where the only one is not there."""
        kinds = np.empty(values.shape[1:], np.uint8)
        if not argmax_channels(np.ascontiguousarray(values), kinds):
            raise GroupingError("expected finite class scores, got NaN or infinite values; check the network's weights")
        if len(values) == 1:
            return (values[0] > self._rest).astype(np.uint8)
        kinds += 1
        return kinds

    def _with_no_class(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (1 + C, h, w) whose channel 0, which is no class, wins only against a single class."""
        guide = np.empty((len(values) + 1, *values.shape[1:]), np.float32)
        guide[1:] = values
        guide[0] = self._rest if len(values) == 1 else float(values.min()) - 1.0
        return guide

    def _segments(self, kinds: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Labels of segments that are large enough, in raster order, and the channel of each."""
        things = np.where(self._is_thing[kinds], kinds, 0)
        parts, count = label_components(things, 8)
        labels = np.where(things > 0, parts, np.where(kinds > 0, count + kinds.astype(np.int32), 0)).astype(np.int32)
        flat = labels.reshape(-1)
        sizes = np.bincount(flat, minlength=1)
        keep = sizes >= self._least
        keep[0] = False
        origin = renumber(flat, np.where(keep, np.arange(keep.size), 0).astype(np.int32))
        return labels, _kinds_of(flat, kinds.reshape(-1), len(origin))


@compiled
def _kinds_of(labels, kinds, count):  # type: ignore[no-untyped-def]
    """(count,) what kind the pixels of each label are."""
    found = np.zeros(count + 1, np.int32)
    for p in range(labels.size):
        found[labels[p]] = kinds[p]
    return found[1:].copy()


@compiled
def _confidence(values, rest, labels, count, logits, step):  # type: ignore[no-untyped-def]
    """(count,) mean probability of the strongest class over some pixels of each label, at least one."""
    channels, height, width = values.shape
    total = np.zeros(count + 1)
    taken = np.zeros(count + 1)
    at = 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label == 0:
                continue
            if taken[label] == 0 or at % step == 0:
                best = values[0, y, x]
                for c in range(1, channels):
                    best = max(best, values[c, y, x])
                if logits:
                    others = np.exp(rest - best) if channels == 1 else 0.0
                    for c in range(channels):
                        others += np.exp(values[c, y, x] - best)
                    total[label] += 1.0 / others
                else:
                    total[label] += min(max(best, 0.0), 1.0)
                taken[label] += 1
            at += 1
    scores = np.zeros(count, np.float32)
    for i in range(count):
        scores[i] = total[i + 1] / max(taken[i + 1], 1.0)
    return scores


def _warm_up(card: ModelCard, parameters: SemanticParameters) -> list[HeadMaps]:
    """Half of the map of the first class, the rest of the last."""
    frames = warm_up_maps(card, {})
    for maps in frames:
        for output in card.outputs:
            values = maps[output.name]
            if output.kind == "class_ids":
                values[:] = len(card.classes) - 1
                values[..., : values.shape[-1] // 2] = 0
            elif output.kind == "class_scores":
                values[:, 0, :, : values.shape[-1] // 2] = 5.0
                values[:, -1, :, values.shape[-1] // 2 :] = 4.0
    return frames


METHOD = Method(
    name="semantic",
    parameters=SemanticParameters,
    outputs={},
    grouping=Semantic,
    warm_up=_warm_up,
)
