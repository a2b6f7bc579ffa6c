"""The head maps that a perfect network would give, for oracle rows: true instances in place of one head's output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError
from rtseg.grouping import GMIS_OFFSETS
from rtseg.grouping.cascade import FOUR_NEIGHBORS
from rtseg.lab.data.affinity_scenes import pairs_in
from rtseg.lab.data.instance_labels import IGNORED_CLASS, InstanceTruth
from rtseg.lab.data.lane_targets import draw_ids, nearest_lanes
from rtseg.ops import region_statistics
from rtseg.runtime.card import ModelCard, ModelOutput
from rtseg.runtime.interpreter import HeadMaps

_OUTPUTS = {"semantic": ("semantic",), "affinity": ("affinity", "embedding", "colors", "centers")}
_LOGIT = 10.0  # certain enough for every softmax
_NEAR_STROKE, _FAR_STROKE = 4.0, 2.5  # input pixels, as lane networks are trained (rtseg.lab.training.config)
_FINE = 2  # painted pixels a pixel of the input, for shares of cells
_LINE_BIAS = 1.0
_REACH = 256.0  # input pixels within which colors differ (L2C, section V-B)


def true_maps(card: ModelCard, truth: InstanceTruth, heads: Sequence[str], classes: Sequence[str]) -> HeadMaps:
    """Make the outputs of some heads from the true instances of a frame.

    Args:
        card: of the network whose outputs are replaced.
        truth: at the frame's size.
        heads: ``semantic`` for class maps; ``affinity`` for all that tells instances apart: affinities and embeddings,
            or colors and centers.
        classes: of `truth`; those that the card has not are background.

    Returns:
        Outputs by name, (1, C, h, w) float32, as the network would give them.

    Raises:
        ConfigError: the card has none of the outputs.
    """
    wanted = {kind for head in heads for kind in _OUTPUTS[head]}
    made: HeadMaps = {}
    codes = np.random.default_rng(0).normal(size=(len(truth) + 2, 64)) * 4.0
    for output in card.outputs:
        kind = output.kind
        if kind not in wanted:
            continue
        size = card.input.height // output.stride, card.input.width // output.stride
        instances = _sampled(truth.instances, size)
        maps: NDArray[np.floating]
        if kind == "semantic":
            maps = _semantic(_sampled(truth.semantic, size), card, classes)
        elif kind == "affinity":
            maps = _affinity(instances, output)
        elif kind == "embedding":
            maps = codes[instances, : output.channels].transpose(2, 0, 1)
        elif kind == "colors":
            maps = _one_hot(_colors(truth, output.channels - 1, card)[np.maximum(instances, 0)], output.channels)
        else:
            maps = _centers(truth, instances, output.stride, card)
        made[output.name] = np.ascontiguousarray(maps, dtype=np.float32)[None]
    if not made:
        raise ConfigError(
            f"expected outputs of {card.name} that true {' and '.join(heads)} maps could stand for, got "
            f"{', '.join(output.kind for output in card.outputs)}"
        )
    return made


def true_lane_maps(card: ModelCard, lines: Sequence[NDArray[np.float32]], size: tuple[int, int]) -> HeadMaps:
    """Make the output of a lane network that knows the lines, at the resolution that it has.

    The share of each cell that a line's stroke covers is the probability that a perfect network would give for its
    color; lines thinner than a cell must still win over the background, so the logits are a nat higher.

    Args:
        card: of the network.
        lines: polylines (k, 2) of (x, y) in pixels; those nearest to the camera get a color each.
        size: (H, W) of the picture they are in.

    Returns:
        The output by name, (1, C, h, w) float32.
    """
    output, (rows, columns) = card.outputs[0], (card.input.height, card.input.width)
    height, width = rows // output.stride, columns // output.stride
    fine = true_lane_colors(card, lines, size, (_FINE * rows, _FINE * columns))
    cells = fine.reshape(height, _FINE * output.stride, width, _FINE * output.stride)
    share = np.stack([(cells == color).mean(axis=(1, 3)) for color in range(1, output.channels)])
    certain = np.clip(share, 1e-4, 1 - 1e-4)
    logits = np.concatenate([np.zeros((1, height, width)), np.log(certain / (1 - certain)) + _LINE_BIAS])
    return {output.name: np.ascontiguousarray(logits, dtype=np.float32)[None]}


def true_lane_colors(
    card: ModelCard, lines: Sequence[NDArray[np.float32]], size: tuple[int, int], target: tuple[int, int]
) -> NDArray[np.uint8]:
    """Paint the lines of a picture of `size` with strokes as networks learn them, a color each, at (H, W) `target`."""
    chosen, _ = nearest_lanes([line for line in lines if len(line) > 1], size, card.outputs[0].channels - 1)
    scale = target[1] / card.input.width
    factors = target[1] / size[1], target[0] / size[0]
    return draw_ids(chosen, target, _NEAR_STROKE * scale, _FAR_STROKE * scale, factors)


def _sampled(labels: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.int32]:
    """Labels at the centers of map pixels."""
    rows, columns = ((np.arange(n) + 0.5) * full / n for n, full in zip(size, labels.shape, strict=True))
    return labels[rows.astype(np.int64)[:, None], columns.astype(np.int64)].astype(np.int32)


def _one_hot(ids: NDArray[np.integer], channels: int) -> NDArray[np.float32]:
    return np.asarray((np.arange(channels)[:, None, None] == ids) * np.float32(_LOGIT), dtype=np.float32)


def _semantic(semantic: NDArray[np.int32], card: ModelCard, classes: Sequence[str]) -> NDArray[np.float32]:
    channel = np.zeros(256, dtype=np.int32)  # what is unknown is background, which costs nothing in the scores
    for i, name in enumerate(classes):
        channel[1 + i] = 1 + card.classes.index(name) if name in card.classes else 0
    channel[IGNORED_CLASS] = 0
    return _one_hot(channel[semantic], 1 + len(card.classes))


def _affinity(instances: NDArray[np.int32], output: ModelOutput) -> NDArray[np.float32]:
    offsets = {len(GMIS_OFFSETS): GMIS_OFFSETS, 4: FOUR_NEIGHBORS, 2: FOUR_NEIGHBORS[:2]}[output.channels]
    height, width = instances.shape
    made = np.zeros((len(offsets), height, width), dtype=np.float32)
    for k, here, there in pairs_in((height, width), offsets):
        made[k][here] = (instances[here] == instances[there]) & (instances[here] != 0)
    return made


def _input_boxes(truth: InstanceTruth, card: ModelCard) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes (n, 4) and centers (n, 2) of the instances in pixels of the network's input."""
    height, width = truth.instances.shape
    scale = np.array([card.input.width / width, card.input.height / height])
    found = region_statistics(np.maximum(truth.instances, 0), len(truth))
    return found.boxes * np.tile(scale, 2), (found.centers + 0.5) * scale - 0.5


def _colors(truth: InstanceTruth, count: int, card: ModelCard) -> NDArray[np.int32]:
    """A color 1..count for every instance, another than those of instances nearby; by label, 0 for 0.

    Where all are taken nearby, the color whose nearest holder is farthest.
    """
    boxes, _ = _input_boxes(truth, card)
    chosen = np.zeros(len(truth) + 1, dtype=np.int32)
    for i in range(len(truth)):
        gaps = np.maximum(boxes[:i, :2] - boxes[i, 2:], boxes[i, :2] - boxes[:i, 2:]).clip(min=0)
        distance = np.hypot(gaps[:, 0], gaps[:, 1])
        nearest = np.full(count, _REACH)
        np.minimum.at(nearest, chosen[1 : i + 1] - 1, distance)
        chosen[i + 1] = 1 + int(nearest.argmax())
    return chosen


def _centers(truth: InstanceTruth, instances: NDArray[np.int32], stride: int, card: ModelCard) -> NDArray[np.float64]:
    _, centers = _input_boxes(truth, card)
    height, width = instances.shape
    at = np.stack(np.meshgrid(np.arange(width), np.arange(height))) * stride + (stride - 1) / 2
    table = np.concatenate([np.zeros((1, 2)), centers])
    return np.where(instances > 0, table[np.maximum(instances, 0)].transpose(2, 0, 1) - at, 0.0)
