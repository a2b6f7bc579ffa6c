"""Regions of a head map to instances on the device: sums over regions, which belong together, what class each is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from rtseg.errors import ArgumentError
from rtseg.ops.cuda.components import check_array, check_shape
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

Guide = Literal["none", "best", "all"]
_GUIDES: dict[Guide, int] = {"none": 0, "best": 1, "all": 2}
_MOST_SEGMENTS = 1024  # THREADS of regions.cu


class RegionTable:
    """A row for each region of a label map: sums of its class probabilities and of other maps, size, box.

    Sums are in fixed point: the same whatever the order in which pixels come. What joins regions writes instances in
    the order of their first pixels.

    Args:
        shape: (1 + C, h, w) of the semantic logits, channel 0 background.
        extras: channels of the other maps.
        regions: most regions; more set REGION_OVERFLOW.
        instances: most instances.
        guide: what goes beside the probability of background into `guide`: that of the best class, or of all classes.
        launcher: where to run; CuPy's current device by default.
        factor: map pixels that a pixel of the other maps stands for along each side.

    Attributes:
        guide: (2, h, w) float32 on the device; of no use with ``none``.
        class_ids: (instances,) int32 on the device, channels less one.
        scores: (instances,) float32 on the device.
        count: (1,) int32 on the device, instances, of which those beyond the room have no row.
        status: (1,) int32 on the device, bits of :mod:`rtseg.ops.cuda.status`.

    Raises:
        ArgumentError: if the shapes do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        extras: int,
        regions: int,
        instances: int = 1024,
        guide: Guide = "none",
        launcher: Launcher | None = None,
        factor: int = 1,
    ) -> None:
        check_shape(shape[1:])
        if len(shape) != 3 or shape[0] < 2 or 0 in shape or extras < 0 or min(regions, instances, factor) < 1:
            raise ArgumentError(
                f"expected maps (1 + C, h, w), none of the sides 0, room for a region and an instance, and a factor "
                f"of 1 or more, got {tuple(shape)}, {regions}, {instances} and {factor}"
            )
        if regions * (shape[0] + extras) > 2**30:
            raise ArgumentError(f"expected at most 2**30 sums, got {regions} regions of {shape[0] + extras} channels")
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("regions")
        xp = self._launcher.xp
        self._shape, self._extras, self._regions, self._factor = tuple(shape), extras, regions, factor
        self._kind = _GUIDES[guide]
        self.guide = xp.zeros((2, *shape[1:]), "float32")
        self._nothing = xp.zeros((1, 1, 1), "float32")
        self._sums = xp.zeros((regions, shape[0] + extras), "int64")
        self._sizes, self._boxes = xp.zeros(regions, "int32"), xp.zeros((regions, 4), "int32")
        self._parent, self._channels = xp.zeros(regions, "int32"), xp.zeros(regions, "int32")
        self._confidence = xp.zeros(regions, "float32")
        self._numbers, self._names = xp.zeros(regions, "int32"), xp.zeros(regions, "int32")
        self.class_ids, self.scores = xp.zeros(instances, "int32"), xp.zeros(instances, "float32")
        self.count, self.status = xp.zeros(1, "int32"), xp.zeros(1, "int32")

    def measure(self, labels: Any, semantic: Any, extra: Any = None, stride: int = 0) -> None:
        """Sum over the regions of `labels`, and write the guide.

        Args:
            labels: (h, w) int32 on the device, 0 = nothing.
            semantic: (1 + C, h, w) float32 logits on the device; values that are not finite set BAD_MAPS.
            extra: (extras, ceil(h / factor), ceil(w / factor)) float32 on the device, likewise; with a stride they
                count only where there is a label.
            stride: input pixels a map pixel where `extra` are offsets (x, y) from each map pixel's place, 0 elsewhere.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        channels, height, width = self._shape
        check_array("labels", labels, (height, width), "int32")
        check_array("semantic", semantic, self._shape, "float32")
        if self._extras:
            sides = (-(-height // self._factor), -(-width // self._factor))
            check_array("extra", extra, (self._extras, *sides), "float32")
        self.status.fill(0)
        tables = self._sums, self._sizes, self._boxes
        launch, regions = self._launcher.launch, self._regions
        columns = channels + self._extras
        launch("regions", "region_clear", (blocks(regions, 256),), (256,), *tables, regions, columns)
        others = (extra if self._extras else self._nothing, self._extras, self._factor, stride, int(stride > 0))
        grid = (blocks(width, 32), blocks(height, 8))
        guide = (self.guide, self._kind, self.status)
        maps = (labels, semantic, channels, *others, height, width, regions)
        launch("regions", "region_sums", grid, (32, 8), *maps, *tables, *guide)

    def rename(self, labels: Any) -> None:
        """Give the pixels of every region the number of the instance it belongs to, 0 for none, in place."""
        pixels = self._shape[1] * self._shape[2]
        arguments = (labels, pixels, self._names, self._regions)
        self._launcher.launch("regions", "region_rename", (blocks(pixels, 256),), (256,), *arguments)

    def parts(self, found: Any) -> tuple[Any, ...]:
        """Arguments that every kernel which joins regions begins with; `found` (1,) int32, the regions there are."""
        tables = (self._sums, self._sizes, self._boxes, self._parent, self._channels, self._confidence)
        results = (self._numbers, self._names, len(self.scores), self.class_ids, self.scores, self.count, self.status)
        return (found, self._regions, self._shape[0], self._extras, *tables, *results)


class ColorJoinPlan:
    """Regions whose mean centers are close are one instance (L2C, section V-B); see :mod:`rtseg.grouping.coloring`.

    Args:
        table: measured with offsets of centers as its two extra maps.
        distance: input pixels.
        least: smallest instance, map pixels.
        area: input pixels of a map pixel.
        score_area: input pixels of an instance that scores 1.
        launcher: where to run; CuPy's current device by default.
    """

    def __init__(
        self,
        table: RegionTable,
        regions: int,
        distance: float,
        least: int,
        area: int,
        score_area: float,
        launcher: Launcher | None = None,
    ) -> None:
        self._launcher = launcher or cuda_launcher()
        xp = self._launcher.xp
        self._table, self._least, self._area = table, least, area
        self._centers = xp.zeros((regions, 2), "float64")
        self._settings = xp.asarray([distance, score_area], dtype="float64")

    def run(self, found: Any) -> None:
        """Join the regions 1..found (1,) int32 on the device; those of no class become nothing."""
        rest = (self._centers, self._settings, self._least, self._area)
        self._launcher.launch("regions", "color_join", (1,), (1024,), *self._table.parts(found), *rest)


class AffinityJoinPlan:
    """Segments joined by embedding, classes and position, and what class each is.

    The joining is that of :func:`rtseg.grouping.position_aware.pa_gaec` over
    :func:`rtseg.grouping.position_aware.segment_affinity`, in double precision.

    Args:
        table: measured with the embedding as its extra maps; without extras nothing is joined.
        regions: of the table.
        channels: (1 + C, k) of the table's sums.
        thresholds: (position_threshold, beta).
        smallest: smallest region, map pixels.
        least: smallest instance, map pixels.
        segments: most segments that are joined, the largest; where there are more and this is above 1024,
            REGION_OVERFLOW.
        launcher: where to run; CuPy's current device by default.
    """

    def __init__(
        self,
        table: RegionTable,
        regions: int,
        channels: tuple[int, int],
        thresholds: Sequence[float],
        smallest: int,
        least: int,
        segments: int,
        launcher: Launcher | None = None,
    ) -> None:
        self._launcher = launcher or cuda_launcher()
        xp = self._launcher.xp
        self._table = table
        self._limited = int(segments <= _MOST_SEGMENTS)
        self._segments = min(segments, _MOST_SEGMENTS)
        room = max(self._segments, 1) if channels[1] else 1
        self._numbers = smallest, least
        self._settings = xp.asarray([*thresholds, math.log(2.0)], dtype="float64")
        self._room = (
            xp.zeros(regions, "int32"),
            xp.zeros((room, sum(channels) + 1), "float64"),
            xp.zeros((room, 4), "float64"),
            xp.zeros((room, room), "float64"),
            xp.zeros((room, room), "float64"),
        )

    def run(self, found: Any) -> None:
        """Join the regions 1..found (1,) int32 on the device."""
        rest = (self._settings, *self._numbers, self._segments, self._limited, *self._room)
        self._launcher.launch("regions", "affinity_join", (1,), (1024,), *self._table.parts(found), *rest)
