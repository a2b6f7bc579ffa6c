"""Free masks: coarse objects from the self-similarity of a backbone's features (FreeSOLO; eq 1 of Exemplar-FreeSOLO).

Every query, a feature vector pooled at one of several scales, is compared with the features of all pixels; where they
are alike is a mask. A mask's maskness is the mean likeness of its pixels less that of a ring around it, and chooses
among masks of one map at one threshold that nearly coincide; which masks of a picture are worth more than others is
told by :mod:`rtseg.lab.weak.free_mask_pool` and :mod:`rtseg.lab.weak.mask_kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field

from rtseg.compiled import compiled
from rtseg.errors import WeakSupervisionError
from rtseg.lab.nets.efficientnet_lite import EfficientNetLite, imagenet_state
from rtseg.ops import preprocess
from rtseg.ops.mask_nms import fast_nms
from rtseg.settings import Probability, Settings

_RING = 2  # pixels of the feature map
_UNDER = 0.05  # likeness below the threshold that what is alike but not connected is given before enlarging


class FreeMaskSettings(Settings):
    """How free masks are found.

    Attributes:
        width: of the picture given to the backbone, pixels, a multiple of 32.
        height: likewise.
        crops: windows at double scale, side by side over the middle half of the picture's height, in which small
            objects have masks; none with 0.
        scales: sides of the queries' grids, as shares of the feature map's.
        thresholds: normalized likenesses above which a pixel belongs to a mask; each gives masks of its own.
        least_area: of a mask, as a share of the feature map.
        most_area: likewise; what is greater is road, sky or house fronts.
        most_side: greatest width or height, as a share of the feature map's.
        coincide: intersection over union from which a better mask of the same map and threshold stands for another.
        candidates: masks of each map and threshold, by maskness.
        again: intersection over union of boxes from which another map or threshold has found the same mask.
        overlap: most intersection over union of masks that are kept of a picture.
        most: masks kept of a picture.
    """

    width: Annotated[int, Field(gt=0, multiple_of=32)] = 1024
    height: Annotated[int, Field(gt=0, multiple_of=32)] = 512
    crops: Annotated[int, Field(ge=0, le=16)] = 3
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0, 0.5, 0.25)
    thresholds: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.4, 0.5, 0.6, 0.7)
    least_area: Annotated[float, Field(ge=0, lt=1)] = 0.0005
    most_area: Annotated[float, Field(gt=0, le=1)] = 0.15
    most_side: Annotated[float, Field(gt=0, le=1)] = 0.6
    coincide: Probability = 0.8
    candidates: Annotated[int, Field(gt=0)] = 200
    again: Probability = 0.8
    overlap: Probability = 0.5
    most: Annotated[int, Field(gt=0)] = 40


@dataclass(frozen=True)
class FreeMasks:
    """Masks of one map at one threshold, best first.

    Attributes:
        masks: (n, h, w) bool at the size that was asked for.
        scores: (n,) float32 maskness.
        embeddings: (n, C) float32 unit vectors, the queries that found them: Q of the paper.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


def free_masks(
    features: NDArray[np.float32], settings: FreeMaskSettings, size: tuple[int, int] | None = None
) -> list[FreeMasks]:
    """Find free masks on a feature map (eq 1).

    A street holds many alike things, so of the pixels alike to a query only the component that holds the query makes
    its mask; the papers, whose pictures have few objects, take them all.

    Args:
        features: (C, h, w) float32, finite.
        settings: thresholds and scales.
        size: (height, width) of the masks; soft masks are upsampled before the threshold. The map's own by default.

    Returns:
        For each threshold at most `settings.candidates` masks; none where nothing stands out.

    Raises:
        WeakSupervisionError: if the features are of another shape or not finite.
    """
    if features.ndim != 3 or 0 in features.shape or not np.isfinite(features).all():
        raise WeakSupervisionError(f"expected finite features of shape (C, h, w), got shape {features.shape}")
    channels, height, width = features.shape
    size = size or (height, width)
    keys = _keys(features)
    queries, places = _queries(keys.reshape(height, width, channels), settings.scales)
    likeness = _normalize(queries @ keys.T).reshape(-1, height, width)
    found = []
    for threshold in settings.thresholds:
        masks, maskness, chosen = _components(likeness, places, threshold, settings)
        order = np.argsort(-maskness, kind="stable")[: 5 * settings.candidates]
        masks, maskness, chosen = masks[order], maskness[order], chosen[order]
        kept = np.flatnonzero(fast_nms(masks, maskness, settings.coincide))[: settings.candidates]
        fine = np.zeros((len(kept), *size), np.bool_)
        for i, index in enumerate(kept):
            soft = likeness[chosen[index]]
            soft = np.where(masks[index], soft, np.minimum(soft, threshold - _UNDER)).astype(np.float32)
            fine[i] = cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR) > threshold
        seen = fine.any((1, 2))
        found.append(FreeMasks(fine[seen], maskness[kept][seen], queries[chosen[kept]][seen]))
    return found


def mask_embeddings(features: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What masks show, as the queries of free masks do: Q of the paper for masks that a network found.

    Args:
        features: (C, h, w) float32, finite.
        masks: (n, H, W) bool, of any size.

    Returns:
        (n, C) float32 unit vectors, 0 for empty masks.
    """
    height, width = features.shape[1:]
    small = [cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for mask in masks]
    shares = np.stack(small).reshape(len(masks), -1) if len(masks) else np.zeros((0, height * width), np.float32)
    return _unit(shares @ _keys(features))


class FreeMaskFeatures:
    """Dense features for free masks: blocks 10 (stride 16) and 14 (stride 32) of an ImageNet EfficientNet-Lite0.

    Each half is centerd over the picture and scaled to unit power, so that neither outweighs the other.

    Raises:
        ModelError: if the package with the weights is not installed.
    """

    channels = 112 + 192

    def __init__(self) -> None:
        self._net = EfficientNetLite()
        self._net.load_imagenet(imagenet_state())
        self._net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tapped: list[torch.Tensor] = []
        for index in (10, 14):
            block = self._net.blocks_up_to(4)[index]
            block.register_forward_hook(lambda module, inputs, output: self._tapped.append(output))

    def __call__(self, image: NDArray[np.uint8], settings: FreeMaskSettings) -> NDArray[np.float32]:
        """Map an (H, W, 3) uint8 BGR picture to (C, height / 16, width / 16) float32 features."""
        size = (settings.height, settings.width)
        tensor = torch.from_numpy(preprocess(image, size, self._net.mean, self._net.std))
        self._tapped.clear()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            self._net(tensor.contiguous(memory_format=torch.channels_last))
        parts: list[torch.Tensor] = []
        for features in self._tapped:
            maps = features[0].float()
            maps = maps - maps.mean((1, 2), keepdim=True)
            maps = maps / maps.square().sum(0).mean().sqrt().clamp(min=1e-6)
            if parts:
                maps = F.interpolate(maps[None], size=parts[0].shape[1:], mode="bilinear", align_corners=False)[0]
            parts.append(maps)
        return np.ascontiguousarray(torch.cat(parts).numpy())


def _keys(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors (h * w, C); a direction common to all, of brightness and texture, would make everything alike."""
    return _unit(features.reshape(len(features), -1).T - features.mean((1, 2)))


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-6)).astype(np.float32)


def _queries(keys: NDArray[np.float32], scales: tuple[float, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Queries (q, C), and the pixel (q, 2) (y, x) in the middle of each."""
    height, width, _ = keys.shape
    pooled, places = [], []
    for scale in scales:
        rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
        small = np.stack(
            [cv2.resize(keys[..., c], (columns, rows), interpolation=cv2.INTER_AREA) for c in range(keys.shape[2])], -1
        )
        pooled.append(_unit(small.reshape(rows * columns, -1)))
        y = ((np.arange(rows) + 0.5) * height / rows).astype(np.int64)
        x = ((np.arange(columns) + 0.5) * width / columns).astype(np.int64)
        places.append(np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2))
    return np.concatenate(pooled), np.concatenate(places)


def _normalize(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift each query's scores (q, p) to [0, 1]."""
    low, high = scores.min(1, keepdims=True), scores.max(1, keepdims=True)
    return (scores - low) / np.maximum(high - low, 1e-6)


def _components(
    likeness: NDArray[np.float32], places: NDArray[np.int64], threshold: float, settings: FreeMaskSettings
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.int64]]:
    """Masks (n, h, w) of allowed size around their queries, their maskness (n,), and which query each is from."""
    height, width = likeness.shape[1:]
    least = max(int(np.ceil(settings.least_area * height * width)), 1)
    most = int(settings.most_area * height * width)
    sides = int(settings.most_side * height), int(settings.most_side * width)
    mask = np.zeros((height, width), np.bool_)
    masks, maskness, chosen = [], [], []
    for i, (y, x) in enumerate(places.tolist()):
        score = _grow(likeness[i], y, x, np.float32(threshold), least, most, sides[0], sides[1], mask)
        if score >= 0:
            masks.append(mask.copy())
            maskness.append(score)
            chosen.append(i)
    if not masks:
        return np.zeros((0, height, width), np.bool_), np.zeros(0, np.float32), np.zeros(0, np.int64)
    return np.stack(masks), np.asarray(maskness, np.float32), np.asarray(chosen)


@compiled
def _grow(soft, y, x, threshold, least, most, tallest, widest, mask):  # type: ignore[no-untyped-def]
    """Fill `mask` with the 4-connected pixels above the threshold around (y, x); give its maskness, -1 for none."""
    height, width = soft.shape
    mask[:] = False
    if not soft[y, x] > threshold:
        return np.float64(-1.0)
    stack = np.empty(most + 1, np.int64)
    stack[0] = y * width + x
    mask[y, x] = True
    count, done = 1, 0
    top, bottom, left, right = y, y, x, x
    inside = 0.0
    while done < count:  # what was found stays in the list, so that the ring can be drawn from it
        py, px = stack[done] // width, stack[done] % width
        done += 1
        inside += soft[py, px]
        top, bottom, left, right = min(top, py), max(bottom, py), min(left, px), max(right, px)
        for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            qy, qx = py + dy, px + dx
            if 0 <= qy < height and 0 <= qx < width and not mask[qy, qx] and soft[qy, qx] > threshold:
                if count > most:
                    return np.float64(-1.0)
                mask[qy, qx] = True
                stack[count] = qy * width + qx
                count += 1
    if count < least or count > most or bottom - top + 1 > tallest or right - left + 1 > widest:
        return np.float64(-1.0)
    seen = mask.copy()
    around, members = 0.0, 0
    for i in range(count):
        py, px = stack[i] // width, stack[i] % width
        for qy in range(max(py - _RING, 0), min(py + _RING + 1, height)):
            for qx in range(max(px - _RING, 0), min(px + _RING + 1, width)):
                if not seen[qy, qx]:
                    seen[qy, qx] = True
                    around += soft[qy, qx]
                    members += 1
    return max(inside / count - around / max(members, 1), 0.0)
