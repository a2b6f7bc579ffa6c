"""Families of networks that can be imported: one function each, from what the network gives to what its card says."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, ModelError
from rtseg.instances.methods.yolo_seg import BEFORE_CLASSES, Layout, columns_first
from rtseg.lab.deploy.foreign.answers import NORMALIZATIONS, Answers, checked_classes, names_in
from rtseg.lab.deploy.foreign.network import RENAMED, ForeignNetwork
from rtseg.runtime.card import Grouping, ModelOutput, Task

_MOST_LINES = 16  # of a lane network: what has more of them there is a map of something else

_GRIDS = ((8, 16, 32), (8, 16, 32, 64))  # pixels of the input to a cell, of the grids that YOLO's boxes lie on
_LEAST_REACH = 2.0  # pixels of an input that some box reaches to, where boxes are in pixels

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Described:
    """What a card says of a network beside its name and file; `answers` with all that the family knows by itself."""

    task: Task
    method: str
    outputs: tuple[ModelOutput, ...]
    answers: Answers
    classes: tuple[str, ...] = ("lane",)
    parameters: dict[str, Any] = field(default_factory=dict)
    top: float = 0.0

    @property
    def grouping(self) -> Grouping:
        """As the card has it."""
        return Grouping(method=self.method, parameters=self.parameters)


def _yolo_seg(path: Path, network: ForeignNetwork, answers: Answers) -> Described:
    answers.refuse_others("yolo-seg", "classes", "normalization", "order", "fit", "layout", "drivable", "ground")
    given = names_in(network.metadata)
    answers = _completed(
        answers, classes=given, normalization=NORMALIZATIONS["zero-one"], order="rgb", fit="letterbox"
    )  # fmt: skip
    answers.require(path, "classes")
    classes = checked_classes(list(answers.classes or ()), "--classes")
    found = []
    for table, values in network.outputs.items():
        for prototypes, output in network.outputs.items():
            maps = _as_prototypes(output, network.size)
            if values.ndim == 3 and maps is not None:
                channels = maps.shape[1]
                layouts = [answers.layout] if answers.layout else _layouts(values, len(classes), channels, network.size)
                found += [
                    (table, prototypes, maps, layout)
                    for layout in layouts
                    if _columns(values, layout, len(classes), channels) is not None
                ]
    if len(found) != 1:
        if len({(table, prototypes) for table, prototypes, *_ in found}) == 1:
            answers.require(path, "layout")
        with_maps = any(values.ndim == 4 for values in network.outputs.values())
        boxes = "" if with_maps else "; it finds boxes without masks: export a segmenting network, such as yolo11n-seg"
        wanted = ", ".join(
            f"{BEFORE_CLASSES[name]} + {len(classes) * (name != 'selected')} + m" for name in get_args(Layout)
        )
        raise ModelError(
            f"expected one table (1, columns, n) of {wanted} columns for {len(classes)} classes and m prototypes, and "
            f"prototypes (1, m, h, w), {path.name} gives {_listed(network.outputs)}{boxes}"
        )
    table, prototypes, maps, layout = found[0]
    channels = maps.shape[1]
    columns = _columns(network.outputs[table], layout, len(classes), channels)
    assert columns is not None
    scores = columns[4:5] if layout == "selected" else columns[4 : BEFORE_CLASSES[layout] + len(classes)]
    if not np.isfinite(scores).all():
        raise ModelError(
            f"expected finite scores in {table} of {path.name}, got NaN or infinite values for a picture of noise; "
            "check its weights, or export it in float32"
        )
    if not (scores.min() >= -1e-3 and scores.max() <= 1 + 1e-3):
        raise ModelError(
            f"expected scores of 0 to 1 in {table} of {path.name}, got {scores.min():.3g} to {scores.max():.3g}; "
            "export it with the sigmoid inside"
        )
    if layout == "selected":
        _expect_numbers(path, table, columns[5, columns[4] > 0], len(classes))
    reach = float(columns[:4].max())
    if 0 < reach <= _LEAST_REACH:
        raise ModelError(
            f"expected boxes in pixels of the input in {table} of {path.name}, got {columns[:4].min():.3g} to "
            f"{reach:.3g}, which are shares of its sides; export it with boxes in pixels"
        )
    return Described(
        task="instances",
        method="yolo_seg",
        outputs=(
            ModelOutput(name=table, kind="detections", shape=network.outputs[table].shape),
            ModelOutput(name=prototypes, kind="prototypes", channels=channels, stride=network.size[0] // maps.shape[2]),
        ),
        answers=answers,
        classes=classes,
        parameters={"layout": layout, **_named(drivable=answers.drivable, ground=answers.ground)},
    )


def _columns(values: NDArray[np.float32], layout: Layout, classes: int, prototypes: int) -> NDArray[np.float32] | None:
    """A table (1, a, b) as (columns, n); None where no side has as many."""
    upright = columns_first(values.shape, layout, classes, prototypes)
    return None if upright is None else values[0] if upright else values[0].T


def _layouts(values: NDArray[np.float32], classes: int, prototypes: int, size: tuple[int, int]) -> list[Layout]:
    """Layouts that a table may have: others may have as many columns as ``selected``, but no corners and no numbers.

    A network that is sure of nothing gives zeros for the scores of classes, which are whole numbers too. Where there is
    one box for each cell of the usual grids, there is no ``objectness``, and where there are three, there is: else a
    table of ``classes`` would fit the other layout if one class too few is named.
    """
    selected = _columns(values, "selected", classes, prototypes)
    if selected is not None:
        kinds = selected[5]
        numbered = bool((kinds == np.rint(kinds)).all() and kinds.min() >= 0 and kinds.max() < classes)
        if numbered and (selected[2:4] >= selected[:2]).all(axis=0).mean() > 0.5:
            return ["selected"]
    for strides in _GRIDS:
        cells = sum((size[0] // stride) * (size[1] // stride) for stride in strides)
        if cells in values.shape[1:]:
            return ["classes"]
        if 3 * cells in values.shape[1:]:
            return ["objectness"]
    return ["classes", "objectness"]


def _semantic(path: Path, network: ForeignNetwork, answers: Answers) -> Described:
    answers.refuse_others(
        "semantic", "output", "classes", "normalization", "order", "fit", "things", "ignored", "drivable", "ground"
    )  # fmt: skip
    answers = _completed(answers, classes=names_in(network.metadata), fit="stretch")
    answers.require(path, "classes", "normalization", "order")
    classes = answers.classes or ()
    counts = (1, len(classes))
    name, values = _largest_map(path, network, answers, "a map of class scores or numbers", counts)
    parameters = _named(
        things=answers.things, ignored=answers.ignored, drivable=answers.drivable, ground=answers.ground
    )
    sides = values.shape
    if name in network.integers or (sides[1] == 1 and len(classes) > 1):
        _expect_numbers(path, name, values[~(values >= 255)], len(classes))
        kind = "class_ids"
    else:
        kind = "class_scores"
        if sides[1] != len(classes):
            raise ModelError(
                f"expected a channel for each of {len(classes)} classes, {path.name} gives {name} "
                f"{network.outputs[name].shape}; name them all with --classes, those not wanted among --ignored"
            )
        parameters["scale"] = _scale(values)
    return Described(
        task="instances",
        method="semantic",
        outputs=(ModelOutput(name=name, kind=kind, shape=sides),),
        answers=answers,
        classes=classes,
        parameters=parameters,
    )


def _lane_map(path: Path, network: ForeignNetwork, answers: Answers) -> Described:
    answers.refuse_others("lane-map", "output", "normalization", "order", "fit", "background", "top")
    counts = range(1, 2 + _MOST_LINES)
    name, values = _largest_map(path, network, answers, "lane maps (1, n, h, w)", counts)
    sides = values.shape
    if sides[1] not in counts:
        raise ModelError(
            f"expected a map for each of up to {_MOST_LINES} lines, {path.name} gives {name} {sides}; import it as "
            "what it is, or name another --output"
        )
    if name in network.integers:
        answers.require(path, "normalization", "order")
        parameters: dict[str, Any] = {"scale": "ids", "background": False}
    else:
        if sides[1] == 1:
            answers = _completed(answers, background=False)
        answers.require(path, "normalization", "order", "background")
        if answers.background and sides[1] < 2:
            raise ConfigError(f"expected --no-background, for {path.name} gives one lane map alone, {name}")
        parameters = {"scale": _scale(values), "background": bool(answers.background)}
    return Described(
        task="lanes",
        method="lane_map",
        outputs=(ModelOutput(name=name, kind="lane_map", shape=sides),),
        answers=_completed(answers, fit="stretch"),
        parameters=parameters,
        top=answers.top or 0.0,
    )


def _row_anchor(path: Path, network: ForeignNetwork, answers: Answers) -> Described:
    answers.refuse_others("row-anchor", "normalization", "order", "anchors", "top")
    answers.require(path, "normalization", "order", "anchors")
    maps = {
        name: values for name, values in network.outputs.items() if values.ndim == 4 and values.shape[3] <= _MOST_LINES
    }
    exists = {name: values for name, values in maps.items() if values.shape[1] == 2}
    outputs: list[ModelOutput] = []
    if len(maps) == 1 and not exists:
        ((name, values),) = maps.items()
        outputs = [ModelOutput(name=name, kind="row_anchors", shape=values.shape)]
    elif len(maps) == 4 and len(exists) == 2:
        cells = {name: values for name, values in maps.items() if name not in exists}
        ways = dict(zip(cells, _directions(list(cells)), strict=True))
        anchors = {values.shape[2]: ways[name] for name, values in cells.items()}
        there = dict(zip(exists, _directions(list(exists)), strict=True))
        if len(anchors) == 2:  # which belong together is seen by how many they are
            there = {name: anchors.get(values.shape[2], "") for name, values in exists.items()}
        if set(there.values()) == set(ways.values()):
            for group, kind in ((ways, "cells"), (there, "exists")):
                outputs += [
                    ModelOutput(name=name, kind=f"{way}_{kind}", shape=maps[name].shape) for name, way in group.items()
                ]
    if not outputs:
        raise ModelError(
            f"expected an output (1, cells + 1, rows, up to {_MOST_LINES} lines), or four: cells (1, c, anchors, "
            f"lines) and existence (1, 2, anchors, lines) by rows and by columns, {path.name} gives "
            f"{_listed(network.outputs)}"
        )
    first, last, top = _read_anchors(answers.anchors or "", len(outputs) == 4)
    return Described(
        task="lanes",
        method="row_anchor",
        outputs=tuple(outputs),
        answers=_completed(answers, fit="stretch"),
        parameters={"rows": [first, last]},
        top=top if answers.top is None else answers.top,
    )


Family = Literal["yolo-seg", "semantic", "row-anchor", "lane-map"]

FAMILIES: dict[Family, Callable[[Path, ForeignNetwork, Answers], Described]] = {
    "yolo-seg": _yolo_seg,
    "semantic": _semantic,
    "row-anchor": _row_anchor,
    "lane-map": _lane_map,
}

_ANCHORS = {
    "tusimple": ((64 / 288, 284 / 288, 0.0), (160 / 720, 710 / 720, 0.2)),
    "culane": ((121 / 288, 287 / 288, 0.0), (0.42, 1.0, 0.4)),
}
"""By the data set that a network is for, of the first version and the second: first row, last row, share cut off."""


def _read_anchors(text: str, second_version: bool) -> tuple[float, float, float]:
    if text in _ANCHORS:
        return _ANCHORS[text][second_version]
    try:
        first, last = (float(number) for number in text.replace(",", " ").split())
    except ValueError:
        first, last = 0.0, 0.0
    if not 0 <= first < last <= 1.2:
        raise ConfigError(f"expected --anchors of {', '.join(_ANCHORS)}, or rising shares as 0.42,1, got {text!r}")
    return first, last, 0.0


def _completed(answers: Answers, **known: Any) -> Answers:
    """Fill in what was not answered."""
    return replace(answers, **{name: value for name, value in known.items() if getattr(answers, name) is None})


def _named(**classes: tuple[str, ...]) -> dict[str, Any]:
    return {name: list(names) for name, names in classes.items() if names}


def _as_prototypes(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32] | None:
    """(1, m, h, w) of that or of (1, h, w, m), where height and width are an equal share of the input's; else None."""
    if values.ndim != 4:
        return None
    for maps in (values, np.moveaxis(values, 3, 1)):
        height, width = maps.shape[2:]
        if height and size[0] % height == 0 and size[1] == width * (size[0] // height):
            return maps
    return None


def _as_map(values: NDArray[np.float32], counts: Container[int]) -> NDArray[np.float32]:
    """(1, n, h, w) of (1, h, w), or of (1, h, w, n) if n alone may be a number of channels."""
    if values.ndim == 3:
        return values[:, None]
    last = values.shape[1] not in counts and values.shape[3] in counts
    return np.moveaxis(values, 3, 1) if last else values


def _largest_map(
    path: Path, network: ForeignNetwork, answers: Answers, wanted: str, counts: Container[int]
) -> tuple[str, NDArray[np.float32]]:
    """The output that was named, or of most pixels: smaller ones are those of auxiliary heads; channels first."""
    maps = {name: _as_map(values, counts) for name, values in network.outputs.items() if values.ndim in (3, 4)}
    maps = {name: values for name, values in maps.items() if values.shape[0] == 1 and min(values.shape[2:]) > 1}
    if not maps:
        raise ModelError(f"expected {wanted}, {path.name} gives {_listed(network.outputs)}")
    named = answers.output
    if named is not None:
        found = [name for name in maps if name in (named, named + RENAMED)]
        if not found:
            raise ConfigError(f"expected --output to name one of {_listed(maps)}, got {named!r}")
        return found[0], maps[found[0]]
    pixels = {name: values.shape[2] * values.shape[3] for name, values in maps.items()}
    largest = [name for name in maps if pixels[name] == max(pixels.values())]
    if len(largest) > 1:
        listed = _listed({name: network.outputs[name] for name in largest})
        raise ConfigError(f"{path.name} gives several maps of one size, {listed}; say with --output which is meant")
    return largest[0], maps[largest[0]]


def _expect_numbers(path: Path, name: str, values: NDArray[np.float32], classes: int) -> None:
    least, most = float(values.min(initial=0)), float(values.max(initial=0))
    if not np.array_equal(values, np.rint(values)) or least < 0 or most >= classes:
        raise ModelError(
            f"expected {name} of {path.name} to hold the numbers of {classes} classes, got {least:.3g} to {most:.3g}; "
            "name every class with --classes"
        )


def _scale(values: NDArray[np.float32]) -> str:
    """Logits, or probabilities, which lie between 0 and 1: of classes that exclude each other, or each by itself."""
    return "probabilities" if values.min() >= 0 and values.max() <= 1 else "logits"


def _directions(names: list[str]) -> tuple[str, str]:
    """Which of two outputs goes by rows and which by columns: by their names, else rows first."""
    return ("column", "row") if "col" in names[0].lower() and "col" not in names[1].lower() else ("row", "column")


def _listed(outputs: Outputs) -> str:
    return ", ".join(f"{name} {values.shape}" for name, values in outputs.items())
