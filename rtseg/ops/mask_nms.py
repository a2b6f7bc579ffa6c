"""Non-maximum suppression of masks: matrix NMS (SOLOv2) and fast NMS (YOLACT), for masks of any shape.

Masks are compared as bits, 64 pixels at a time, and every float step is one that rtseg/ops/cuda/mask_nms.cu repeats,
so that both give the same bits.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError
from rtseg.ops.logistic import exp_negative

Kernel = Literal["gaussian", "linear"]


def matrix_nms(
    masks: NDArray[np.bool_], scores: NDArray[np.floating], kernel: Kernel = "gaussian", sigma: float = 2.0
) -> NDArray[np.float32]:
    """Lower each mask's score by how much better masks cover it (SOLOv2, section 3.4).

    The score of mask j is multiplied by ``min f(iou(i, j)) / f(max iou(k, i))`` over the masks i before it and k before
    i, never above 1; "before" is a higher score, or the same score and a lower index. An empty mask overlaps nothing.

    Args:
        masks: (n, H, W) bool.
        scores: (n,) float, finite, 0 or more.
        kernel: f: ``exp(-sigma iou^2)`` or ``1 - iou``.
        sigma: of the gaussian.

    Returns:
        (n,) float32 lowered scores, in the order of the masks.

    Raises:
        ArgumentError: if shapes, scores or parameters do not fit.
    """
    check_nms(kernel=kernel, sigma=sigma)
    values = _check_scores(scores, len(masks) if isinstance(masks, np.ndarray) else -1)
    overlaps = mask_overlaps(masks)
    return decay_scores(overlaps, values, score_order(values), kernel == "gaussian", np.float32(sigma))


def fast_nms(masks: NDArray[np.bool_], scores: NDArray[np.floating], threshold: float = 0.5) -> NDArray[np.bool_]:
    """Say which masks no better one overlaps by more than `threshold`, suppressed ones counting too (YOLACT, 3.3).

    Args:
        masks: (n, H, W) bool.
        scores: (n,) float, finite, 0 or more; ties go to the lower index.
        threshold: greatest intersection over union that is let stand, in [0, 1].

    Returns:
        (n,) bool.

    Raises:
        ArgumentError: if shapes, scores or the threshold do not fit.
    """
    check_nms(threshold=threshold)
    values = _check_scores(scores, len(masks) if isinstance(masks, np.ndarray) else -1)
    return fast_keep(mask_overlaps(masks), score_order(values), np.float32(threshold))


def mask_overlaps(masks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Count the pixels that each pair of masks shares.

    Args:
        masks: (n, H, W) bool.

    Returns:
        (n, n) int32; the diagonal holds the areas.

    Raises:
        ArgumentError: if `masks` is no such array.
    """
    return overlaps_of_bits(pack_masks(masks))


def pack_masks(masks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack masks (n, H, W) to bits, (n, words) uint64, pixel p in bit p % 64 of word p // 64.

    Raises:
        ArgumentError: if `masks` is not a bool array of three axes.
    """
    if not isinstance(masks, np.ndarray) or masks.ndim != 3 or masks.dtype != np.bool_:
        what = f"{masks.dtype} of shape {masks.shape}" if isinstance(masks, np.ndarray) else type(masks).__name__
        raise ArgumentError(f"expected masks of shape (n, H, W) bool, got {what}")
    packed = np.packbits(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), axis=1, bitorder="little")
    words = np.zeros((len(masks), -(-packed.shape[1] // 8) * 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view(np.dtype("<u8")).astype(np.uint64, copy=False)


def score_order(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices from the highest score to the lowest, ties by index."""
    return np.argsort(-scores, kind="stable")


def check_nms(kernel: str = "gaussian", sigma: float = 2.0, threshold: float = 0.5) -> None:
    """Refuse parameters of either suppression that do not fit.

    Raises:
        ArgumentError: if one does not.
    """
    if kernel not in ("gaussian", "linear") or not (np.isfinite(sigma) and sigma > 0) or not 0 <= threshold <= 1:
        raise ArgumentError(
            "expected a gaussian or linear kernel, a sigma above 0 and a threshold in [0, 1], got "
            f"{kernel!r}, {sigma} and {threshold}"
        )


def _check_scores(scores: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    values = np.asarray(scores, dtype=np.float32)
    if values.shape != (count,) or not np.isfinite(values).all() or (values < 0).any():
        raise ArgumentError(
            f"expected masks (n, H, W) with one finite score of 0 or more each, got {count} masks and scores of "
            f"shape {values.shape}"
        )
    return values


@compiled
def _count_bits(word):  # type: ignore[no-untyped-def]
    # LLVM knows this pattern and makes the machine's own instruction of it, for whole vectors too.
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def overlaps_of_bits(bits):  # type: ignore[no-untyped-def]
    """Shared pixels (n, n) int32 of packed masks (n, words) uint64."""
    count = bits.shape[0]
    shared = np.zeros((count, count), np.int32)
    for i in range(count):
        for j in range(i + 1):
            total = np.uint64(0)
            for k in range(bits.shape[1]):
                total += _count_bits(bits[i, k] & bits[j, k])
            shared[i, j] = total
            shared[j, i] = total
    return shared


@compiled
def _iou(shared, i, j):  # type: ignore[no-untyped-def]
    union = shared[i, i] + shared[j, j] - shared[i, j]
    return np.float32(shared[i, j]) / np.float32(union) if union > 0 else np.float32(0.0)


@compiled
def decay_scores(shared, scores, order, gaussian, sigma):  # type: ignore[no-untyped-def]
    """Matrix NMS from shared pixels (n, n), scores (n,) and their order; (n,) float32."""
    count = order.size
    covered = np.zeros(count, np.float32)  # by the position in the order
    decayed = np.empty(count, np.float32)
    one = np.float32(1.0)
    for b in range(count):
        j = order[b]
        weight = one
        exponent = np.float32(0.0)
        most = np.float32(0.0)
        for a in range(b):
            iou = _iou(shared, order[a], j)
            most = max(most, iou)
            if gaussian:
                exponent = max(exponent, iou * iou - covered[a] * covered[a])
            elif covered[a] < one:
                weight = min(weight, (one - iou) / (one - covered[a]))
        covered[b] = most
        if gaussian:
            weight = exp_negative(sigma * exponent)
        decayed[j] = scores[j] * weight
    return decayed


@compiled
def fast_keep(shared, order, threshold):  # type: ignore[no-untyped-def]
    """Fast NMS from shared pixels (n, n) and the order of scores; (n,) bool."""
    keep = np.ones(order.size, np.bool_)
    for b in range(order.size):
        for a in range(b):
            if _iou(shared, order[a], order[b]) > threshold:
                keep[order[b]] = False
                break
    return keep
