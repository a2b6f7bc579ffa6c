"""Region statistics and means on the device."""

from __future__ import annotations

from typing import Any

from rtseg.errors import ArgumentError
from rtseg.ops.cuda.components import check_array, check_shape
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

_MOST_ROWS = 512  # blocks down the image; each goes through the rows in this stride


class StatisticsPlan:
    """Areas, boxes and centers of up to `regions` regions, for label images of one size.

    Sums are integers: results equal :func:`rtseg.ops.region_statistics` exactly. A run launches three kernels on CuPy's
    current stream, without allocation or host reads.

    Args:
        shape: (H, W) of the label images.
        regions: most regions.
        launcher: where to run; CuPy's current device by default.
        tables: arrays on the device to use as `areas`, `boxes` and `centers`; allocated if None.

    Attributes:
        areas: (regions,) int64 on the device, pixels.
        boxes: (regions, 4) int32 (x0, y0, x1, y1), x1 and y1 exclusive; all 0 where a label has no pixel.
        centers: (regions, 2) float64 (x, y), NaN where a label has no pixel.
        status: (1,) int32.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        regions: int,
        launcher: Launcher | None = None,
        tables: tuple[Any, Any, Any] | None = None,
    ) -> None:
        check_shape(shape)
        _check_regions(regions)
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("statistics")
        self._shape, self._regions = shape, regions
        xp = self._launcher.xp
        self.areas, self.boxes, self.centers = tables or (
            xp.zeros(regions, "int64"),
            xp.zeros((regions, 4), "int32"),
            xp.zeros((regions, 2), "float64"),
        )
        self._sums = xp.zeros((regions, 2), "int64")
        self.status = xp.zeros(1, "int32")

    def run(self, labels: Any, count: int | None = None) -> None:
        """Measure the regions 1..count of `labels`.

        Args:
            labels: (H, W) int32 on the device, C-contiguous; a label outside 0..count sets BAD_LABEL.
            count: number of regions, all that the plan has room for if None; rows beyond are left as they are.

        Raises:
            ArgumentError: if the array has another shape, dtype or layout.
        """
        check_array("labels", labels, self._shape, "int32")
        launch, regions = self._launcher.launch, _check_count(count, self._regions)
        height, width = self._shape
        self.status.fill(0)
        each = ((blocks(regions, 256),), (256,))
        launch("statistics", "statistics_clear", *each, self.areas, self.boxes, self._sums, regions)
        if height and width:
            grid = (blocks(width, 256), min(height, _MOST_ROWS))
            arguments = (labels, height, width, regions, self.areas, self.boxes, self._sums, self.status)
            launch("statistics", "statistics_accumulate", grid, (256,), *arguments)
        launch("statistics", "statistics_finish", *each, self.areas, self.boxes, self._sums, self.centers, regions)


class MeansPlan:
    """Mean of every map channel over up to `regions` regions, for label images of one size.

    Sums are float64; their order is not fixed, so the last bits may differ from run to run. A run launches three
    kernels on CuPy's current stream, without allocation or host reads.

    Args:
        shape: (C, H, W) of the maps.
        regions: most regions.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        means: (regions, C) float64 on the device; NaN where a label has no pixel.
        status: (1,) int32.
    """

    def __init__(self, shape: tuple[int, int, int], regions: int, launcher: Launcher | None = None) -> None:
        check_shape(shape[1:])
        _check_regions(regions * shape[0])
        if shape[0] > 65535:
            raise ArgumentError(f"expected at most 65535 channels, got {shape[0]}; average them in parts")
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("means")
        self._shape, self._regions = shape, regions
        xp = self._launcher.xp
        self.means = xp.zeros((regions, shape[0]), "float64")
        self._areas = xp.zeros(regions, "int32")
        self.status = xp.zeros(1, "int32")

    def run(self, labels: Any, maps: Any, count: int | None = None) -> None:
        """Average `maps` over the regions 1..count of `labels`.

        Args:
            labels: (H, W) int32 on the device, C-contiguous; a label outside 0..count sets BAD_LABEL.
            maps: (C, H, W) float32 on the device, C-contiguous.
            count: number of regions, all that the plan has room for if None; rows beyond are left as they are.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        check_array("labels", labels, self._shape[1:], "int32")
        check_array("maps", maps, self._shape, "float32")
        launch, regions = self._launcher.launch, _check_count(count, self._regions)
        channels, height, width = self._shape
        self.status.fill(0)
        each = ((blocks(regions * max(channels, 1), 256),), (256,))
        launch("means", "means_clear", *each, self._areas, self.means, regions, channels)
        if height and width and channels:
            grid = (blocks(width, 256), min(height, _MOST_ROWS), channels)
            arguments = (labels, maps, height, width, regions, channels, self._areas, self.means, self.status)
            launch("means", "means_accumulate", grid, (256,), *arguments)
        launch("means", "means_finish", *each, self._areas, self.means, regions, channels)


def _check_regions(values: int) -> None:
    if not 0 <= values < 2**31 - 256:
        raise ArgumentError(
            f"expected between 0 and 2**31 region values, got {values}; measure fewer regions or channels"
        )


def _check_count(count: int | None, regions: int) -> int:
    if count is None:
        return regions
    if not 0 <= count <= regions:
        raise ArgumentError(f"expected a count of 0 to {regions} regions, got {count}; make a plan with more `regions`")
    return count
