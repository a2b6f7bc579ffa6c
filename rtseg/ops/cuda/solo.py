"""SOLO decoding on the device: points, kernels and mask features to labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rtseg.errors import ArgumentError
from rtseg.ops.cuda.components import check_array
from rtseg.ops.cuda.mask_nms import MaskNmsPlan
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

_SLOTS = 8  # SLOTS of solo.cu
_SHAPE_TERMS = 5


class SoloPlan:
    """The decoding of :mod:`rtseg.grouping.solo` in fixed buffers: what a CUDA graph captures, maps in, labels out.

    Labels and scores equal the CPU's bit for bit.

    Args:
        levels: (height, width, stride) of each level, from fine to coarse.
        features: (D, h, w) of the mask features, stride 4.
        score_threshold, candidates, min_pixels, nms, sigma, overlap, keep_threshold, min_visible: see
            :class:`rtseg.grouping.solo.SoloSettings`.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        count: (1,) int32 on the device, instances in the label image.
        scores: (candidates,) float32 on the device; the first `count` are those of labels 1, 2, ...
        dropped: (1,) int32 on the device, points above the threshold beyond the `candidates`.
        status: (1,) int32 on the device, BAD_MAPS where a map is not finite; then the labels are not to be used.

    Raises:
        ArgumentError: if shapes or parameters do not fit.
    """

    def __init__(
        self,
        levels: Sequence[tuple[int, int, int]],
        features: tuple[int, int, int],
        score_threshold: float = 0.1,
        candidates: int = 200,
        min_pixels: int = 4,
        nms: str = "matrix",
        sigma: float = 2.0,
        overlap: float = 0.5,
        keep_threshold: float = 0.05,
        min_visible: float = 0.3,
        launcher: Launcher | None = None,
    ) -> None:
        fit = len(levels) > 0 and len(features) == 3 and min(features) > 0 and nms in ("matrix", "fast")
        fit = fit and all(
            stride > 0 and (h, w) == (features[1] * 4 // stride, features[2] * 4 // stride) for h, w, stride in levels
        )
        if not fit or not 1 <= candidates <= 1024:
            raise ArgumentError(
                f"expected levels that fit the mask features, nms matrix or fast and 1 to 1024 candidates, got "
                f"{list(levels)}, {features}, {nms!r} and {candidates}"
            )
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("solo")
        xp = self._launcher.xp
        self._levels, self._features, self._most = list(levels), features, candidates
        self._thresholds = float(score_threshold), float(keep_threshold), float(min_visible)
        self._least = int(min_pixels)
        self._bases = [sum(h * w for h, w, _ in levels[:i]) for i in range(len(levels))]
        points = sum(h * w for h, w, _ in levels)
        self._pixels = features[1] * features[2]
        method: Any = "fast" if nms == "fast" else "gaussian"
        self._nms = MaskNmsPlan(candidates, self._pixels, method, sigma, overlap, self._launcher)
        self._found_scores, self._found_codes = xp.zeros(points, "float32"), xp.zeros(points, "int32")
        self._found = xp.zeros(1, "int32")
        self._codes, self._category = xp.zeros(candidates, "int32"), xp.zeros(candidates, "float32")
        self._weights = xp.zeros((candidates, _SHAPE_TERMS + features[0]), "float32")
        self._places = xp.zeros((candidates, 3), "int32")
        self._areas, self._likely = xp.zeros(candidates, "uint64"), xp.zeros(candidates, "uint64")
        self._taken = xp.zeros(self._nms.words, "uint32")
        self._painted, self._first = xp.zeros(candidates, "int32"), xp.zeros(candidates, "int32")
        self._numbers, self._used = xp.zeros(candidates, "int32"), xp.zeros(1, "int32")
        self.scores = xp.zeros(candidates, "float32")
        self.count, self.dropped, self.status = (xp.zeros(1, "int32") for _ in range(3))

    def run(self, maps: Sequence[tuple[Any, Any]], features: Any, out: Any, guide: Any = None) -> None:
        """Write labels to `out`, consecutive in raster order of first pixels.

        Args:
            maps: (cate (h, w), kernel (5 + D, h, w)) float32 of each level on the device, C-contiguous.
            features: (D, h, w) float32 on the device, C-contiguous.
            out: (h, w) int32 on the device, C-contiguous.
            guide: (2, h, w) float32 on the device, C-contiguous, gets 1 where nothing is and where something is.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        channels, height, width = self._features
        terms, most, pixels = _SHAPE_TERMS + channels, self._most, self._pixels
        if len(maps) != len(self._levels):
            raise ArgumentError(f"expected maps of {len(self._levels)} levels, got {len(maps)}; make a new plan")
        check_array("features", features, self._features, "float32")
        check_array("out", out, (height, width), "int32")
        for (cate, kernel), (h, w, _) in zip(maps, self._levels, strict=True):
            check_array("cate", cate, (h, w), "float32")
            check_array("kernel", kernel, (terms, h, w), "float32")
        if guide is not None:
            check_array("guide", guide, (2, height, width), "float32")
        for counter in (self.count, self.status, self._found):
            counter.fill(0)
        score_threshold, keep, visible = self._thresholds
        self._check(features, channels * pixels)
        for (cate, kernel), (h, w, _), base in zip(maps, self._levels, self._bases, strict=True):
            self._check(cate, h * w)
            self._check(kernel, terms * h * w)
            points = (self._found_scores, self._found_codes, self._found)
            self._each("solo_peaks", h * w, cate, h, w, score_threshold, base, *points)
        chosen = (self._codes, self._category, self._used, self.dropped)
        found = (self._found_scores, self._found_codes, self._found)
        self._each("solo_select", len(self._found_scores), *found, most, *chosen)
        launch = self._launcher.launch
        for (_, kernel), (h, w, stride), base in zip(maps, self._levels, self._bases, strict=True):
            at = (kernel, terms, h, w, base, stride, self._codes, self._used, self._weights, self._places)
            launch("solo", "solo_gather", (blocks(terms, 64), most), (64,), *at)
        self._each("solo_clear", most, most, self._areas, self._likely, self._first)
        nms = self._nms
        grid = (blocks(pixels, 256), blocks(most, _SLOTS))
        made = (self._weights, self._places, self._used, nms.bits, nms.words, self._areas, self._likely)
        launch("solo", "solo_draw", grid, (256,), features, *self._features, *made)
        self._each("solo_score", most, self._category, self._areas, self._likely, self._used, self._least, nms.scores)
        nms.run(self._used)
        ranked = (nms.scores, nms.order)
        paint = (*ranked, self._areas, self._used, keep, visible, self._taken, self._painted)
        launch("solo", "solo_paint", (1,), (1024,), nms.bits, nms.words, *paint)
        label = (*ranked, self._painted, self._used, keep, out, self._first)
        self._each("solo_label", pixels, nms.bits, nms.words, pixels, *label)
        number = (self._first, nms.scores, self._used, self._numbers, self.scores, self.count)
        self._each("solo_number", most, *number)
        self._each("solo_relabel", pixels, self._numbers, pixels, out)
        if guide is not None:
            self._each("solo_guide", pixels, out, pixels, guide)

    def _check(self, values: Any, count: int) -> None:
        grid = (min(blocks(count, 256), 1024),)
        self._launcher.launch("solo", "solo_check", grid, (256,), values, count, self.status)

    def _each(self, kernel: str, items: int, *arguments: Any) -> None:
        self._launcher.launch("solo", kernel, (blocks(items, 256),), (256,), *arguments)
