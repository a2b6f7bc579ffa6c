"""Suppression of masks on the device."""

from __future__ import annotations

from typing import Any, Literal

from rtseg.errors import ArgumentError
from rtseg.ops.cuda.components import check_array
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher
from rtseg.ops.mask_nms import check_nms

_TILE = 16  # TILE of mask_nms.cu


class MaskNmsPlan:
    """Matrix or fast NMS of up to `most` packed masks, in fixed buffers.

    Results equal :func:`rtseg.ops.mask_nms.matrix_nms` and :func:`~rtseg.ops.mask_nms.fast_nms` bit for bit.

    Args:
        most: masks there is room for.
        pixels: of a mask.
        method: ``gaussian`` or ``linear`` for matrix NMS, or ``fast``.
        sigma: of the gaussian.
        threshold: of fast NMS.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        bits: (most, words) uint32 on the device, the masks; pixel p is bit p % 32 of word p // 32.
        scores: (most,) float32 on the device, as given and after :meth:`run` lowered, 0 where suppressed by ``fast``.
        order: (most,) int32 on the device, after :meth:`run` from the highest lowered score to the lowest.
        ranked: (most,) int32 on the device, the order by the scores as given.
        covered: (most,) float32 on the device, by the place in `ranked`: greatest IoU with a better mask.
        words: of a mask.

    Raises:
        ArgumentError: if a parameter does not fit.
    """

    def __init__(
        self,
        most: int,
        pixels: int,
        method: Literal["gaussian", "linear", "fast"] = "gaussian",
        sigma: float = 2.0,
        threshold: float = 0.5,
        launcher: Launcher | None = None,
    ) -> None:
        check_nms("gaussian" if method == "fast" else method, sigma, threshold)
        if not 1 <= most <= 8192 or not 1 <= pixels <= 2**28:
            raise ArgumentError(f"expected room for 1 to 8192 masks of 1 to 2**28 pixels, got {most} and {pixels}")
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("mask_nms")
        xp = self._launcher.xp
        self._most, self._pixels, self._method = most, pixels, method
        self._sigma, self._threshold = float(sigma), float(threshold)
        self.words = blocks(pixels, 32)
        self.bits = xp.zeros((most, self.words), "uint32")
        self.scores = xp.zeros(most, "float32")
        self.order = xp.zeros(most, "int32")
        self._shared = xp.zeros((most, most), "int32")
        self.ranked = xp.zeros(most, "int32")
        self.covered = xp.zeros(most, "float32")
        self._lowered = xp.zeros(most, "float32")

    def pack(self, masks: Any) -> None:
        """Fill `bits` from masks (n, H, W) uint8 of 0 and 1 on the device, n at most the plan's room."""
        count = len(masks)
        if count:
            grid = (blocks(self._pixels, 256), count)
            self._launcher.launch("mask_nms", "mask_pack", grid, (256,), masks, self._pixels, self.bits, self.words)

    def run(self, count: Any) -> None:
        """Suppress the first `count` masks (int32 (1,) on the device): `scores` and `order` change."""
        check_array("count", count, (1,), "int32")
        launch, most = self._launcher.launch, self._most
        tiles = blocks(most, _TILE)
        launch(
            "mask_nms",
            "mask_overlaps",
            (tiles, tiles),
            (_TILE, _TILE),
            self.bits,
            self.words,
            count,
            most,
            self._shared,
        )
        each = ((blocks(most, 256),), (256,))
        launch("mask_nms", "score_order", *each, self.scores, count, most, self.ranked)
        launch("mask_nms", "nms_cover", *each, self._shared, self.ranked, count, most, self.covered)
        given = (self._shared, self.ranked, self.covered, self.scores, count, most)
        if self._method == "fast":
            launch("mask_nms", "nms_fast", *each, *given, self._threshold, self._lowered)
        else:
            gaussian = int(self._method == "gaussian")
            launch("mask_nms", "nms_decay", *each, *given, gaussian, self._sigma, self._lowered)
        self.scores[...] = self._lowered
        launch("mask_nms", "score_order", *each, self.scores, count, most, self.order)
