"""Connected components on the device, and the numbering of a forest's roots that other plans share."""

from __future__ import annotations

from typing import Any

from rtseg.errors import ArgumentError
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

_TILE = (32, 16)  # TILE_WIDTH, TILE_HEIGHT of components.cu
_ITEMS = 1024  # COMPACT_ITEMS of compaction.cu
_SUFFIXES = {"uint8": "u8", "bool": "u8", "int32": "i32", "int64": "i64"}
MAX_PIXELS = 2**30  # indices of pixels, rounded up to whole blocks, stay within int32


class Numbering:
    """Consecutive ids 1, 2, ... for the roots of a forest of `nodes` nodes, in the order of the nodes.

    Attributes:
        count: (1,) int32 on the device, the number of roots of the last run.
    """

    def __init__(self, nodes: int, launcher: Launcher) -> None:
        launcher.prepare("compaction")
        self._launcher = launcher
        self._nodes = nodes
        self._counts = launcher.xp.zeros(blocks(nodes, _ITEMS), "int32")
        self._ids = launcher.xp.zeros(max(nodes, 1), "int32")
        self.count = launcher.xp.zeros(1, "int32")

    def run(self, parent: Any, out: Any, status: Any, capacity: int = MAX_PIXELS) -> None:
        """Flatten `parent` (nodes,) in place and write each node's id to `out`, 0 where the parent is -1.

        More roots than `capacity` set the region-overflow bit of `status`.
        """
        launch, grid, nodes = self._launcher.launch, (len(self._counts),), self._nodes
        launch("compaction", "compact_flatten", grid, (256,), parent, nodes, self._counts)
        launch("compaction", "compact_scan", (1,), (1024,), self._counts, grid[0], self.count, capacity, status)
        launch("compaction", "compact_rank", grid, (256,), parent, nodes, self._counts, self._ids)
        launch("compaction", "compact_label", (blocks(nodes, 256),), (256,), parent, nodes, self._ids, out)


class ComponentsPlan:
    """Multi-label connected components with fixed buffers, for frames of one size.

    Tiles are united in shared memory, their borders in global memory (Playne and Hawick, 2018), and the roots numbered
    in raster order of first pixels: labels and count equal those of :func:`rtseg.ops.label_components` exactly.

    A run launches six kernels on CuPy's current stream, allocates nothing and reads nothing back, so that a CUDA graph
    can capture it.

    Args:
        shape: (H, W) of the frames.
        connectivity: 4 or 8.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        count: (1,) int32 on the device, the number of components of the last run.

    Raises:
        ArgumentError: if the connectivity is neither 4 nor 8 or there are more than 2**30 pixels.
    """

    def __init__(self, shape: tuple[int, int], connectivity: int = 8, launcher: Launcher | None = None) -> None:
        check_shape(shape)
        if connectivity not in (4, 8):
            raise ArgumentError(
                f"expected connectivity 4 or 8, got {connectivity!r}; pass 4 (edges) or 8 (edges and corners)"
            )
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("components")
        self._shape = shape
        self._eight = int(connectivity == 8)
        xp = self._launcher.xp
        self._parent = xp.zeros(shape, "int32")
        self._status = xp.zeros(1, "int32")
        self._numbering = Numbering(shape[0] * shape[1], self._launcher)
        self.count = self._numbering.count

    def run(self, labels: Any, out: Any) -> None:
        """Write the components of `labels` to `out`.

        Args:
            labels: (H, W) bool, uint8, int32 or int64 on the device, C-contiguous, 0 is background.
            out: (H, W) int32 on the device, C-contiguous.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        suffix = _SUFFIXES.get(str(labels.dtype))
        if suffix is None:
            raise ArgumentError(f"expected bool, uint8, int32 or int64 labels, got {labels.dtype}; cast them first")
        check_array("labels", labels, self._shape)
        check_array("out", out, self._shape, "int32")
        (height, width), launch = self._shape, self._launcher.launch
        if height and width:
            arguments = (labels, height, width, self._eight, self._parent)
            tiles = (blocks(width, _TILE[0]), blocks(height, _TILE[1]))
            launch("components", f"components_tile_{suffix}", tiles, _TILE, *arguments)
            border = (tiles[1] - 1) * width + (tiles[0] - 1) * height
            if border:
                launch("components", f"components_borders_{suffix}", (blocks(border, 128),), (128,), *arguments)
        self._numbering.run(self._parent, out, self._status)


def check_shape(shape: tuple[int, int]) -> None:
    """Check that images of this size can be indexed with 32 bits.

    Raises:
        ArgumentError: if there are more than 2**30 pixels.
    """
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ArgumentError(f"expected at most 2**30 pixels, got {shape[0]}x{shape[1]}; work in tiles")


def check_array(name: str, array: Any, shape: tuple[int, ...], dtype: str | None = None) -> None:
    """Check that an array is what a kernel will take it for.

    Raises:
        ArgumentError: if its shape, dtype or memory order differs.
    """
    if tuple(array.shape) != tuple(shape) or (dtype is not None and array.dtype != dtype):
        expected = f"{dtype or array.dtype} array of shape {tuple(shape)}"
        raise ArgumentError(
            f"expected `{name}` as {expected}, got {array.dtype} of {tuple(array.shape)}; make a new plan"
        )
    if not array.flags.c_contiguous:
        raise ArgumentError(f"expected `{name}` C-contiguous, got a strided view; copy it first")
