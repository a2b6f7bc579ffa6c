"""Preprocessing on the device: camera bytes in, a network's input out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from rtseg.errors import ArgumentError, ImageError
from rtseg.ops.coloring import check_size
from rtseg.ops.cuda.components import check_array
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher
from rtseg.ops.preprocess import _filter

# Number of each encoding in preprocess.cu and its bytes a pixel; names as in sensor_msgs/Image.
ENCODINGS = {
    "bgr8": (0, 3),
    "rgb8": (1, 3),
    "bgra8": (2, 4),
    "rgba8": (3, 4),
    "mono8": (4, 1),
    "yuv422": (5, 2),
    "yuv422_yuy2": (6, 2),
}


class PreprocessPlan:
    """Decode, resize, normalize and transpose in one kernel, for frames of one size and encoding.

    The pixels are those of :func:`rtseg.ops.preprocess` (area average to shrink, linear to enlarge). A run is one
    launch on CuPy's current stream, without allocation or host reads.

    Args:
        shape: (H, W) of the frames.
        size: (h, w) of the network's input.
        mean: three means on the scale 0 to 255, in the order of `order`.
        std: three positive standard deviations, likewise.
        order: order of the channels that the network expects.
        encoding: encoding of the frames, a key of :data:`ENCODINGS`.
        step: bytes a row, padding included; rows without padding by default.
        dtype: type of the network's input.
        launcher: where to run; CuPy's current device by default.

    Raises:
        ImageError: if the encoding is unknown or the shape or step does not fit it.
        ArgumentError: if another parameter does not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        order: Literal["rgb", "bgr"] = "rgb",
        encoding: str = "bgr8",
        step: int | None = None,
        dtype: Literal["float32", "float16"] = "float32",
        launcher: Launcher | None = None,
    ) -> None:
        if order not in ("rgb", "bgr"):
            raise ArgumentError(f"expected order 'rgb' or 'bgr', got {order!r}")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ArgumentError(
                f"expected three means and three positive standard deviations, got {mean!r} and {std!r}"
            )
        if dtype not in ("float32", "float16"):
            raise ArgumentError(f"expected dtype 'float32' or 'float16', got {dtype!r}")
        self._resize = _Resize(shape, size, encoding, step, launcher)
        xp = self._resize.launcher.xp
        deviation = np.asarray(std, np.float64)
        self._scale = xp.asarray((1 / deviation).astype(np.float32))
        self._shift = xp.asarray((-np.asarray(mean, np.float64) / deviation).astype(np.float32))
        self._reverse = int(order == "rgb")
        self._dtype = dtype

    def run(self, image: Any, out: Any) -> None:
        """Write the network's input to `out`.

        Args:
            image: uint8 on the device, C-contiguous, the bytes of the frame: (H, step), or (H, W, 3) and the like.
            out: (1, 3, h, w) of the plan's dtype on the device, C-contiguous.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        check_array("out", out, (1, 3, *self._resize.size), self._dtype)
        if self._dtype == "float16":
            kernel, out = "preprocess_half", out.view("uint16")
        else:
            kernel = "preprocess_float"
        self._resize.launch(kernel, image, self._scale, self._shift, self._reverse, out)


class ResizePlan:
    """Decode and resize to BGR bytes, as :func:`rtseg.ops.resize_image`; arguments as :class:`PreprocessPlan`."""

    def __init__(
        self,
        shape: tuple[int, int],
        size: tuple[int, int],
        encoding: str = "bgr8",
        step: int | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        self._resize = _Resize(shape, size, encoding, step, launcher)

    def run(self, image: Any, out: Any) -> None:
        """Write the resized `image` to `out`, (h, w, 3) uint8 on the device."""
        check_array("out", out, (*self._resize.size, 3), "uint8")
        self._resize.launch("resize_bytes", image, out)


class _Resize:
    """The filter tables of one pair of sizes, and the launch that the two plans share."""

    def __init__(
        self, shape: tuple[int, int], size: tuple[int, int], encoding: str, step: int | None, launcher: Launcher | None
    ) -> None:
        if encoding not in ENCODINGS:
            raise ImageError(
                f"expected one of the encodings {', '.join(ENCODINGS)}, got {encoding!r}; decode it on the CPU first"
            )
        height, width = shape
        self._number, pixel_bytes = ENCODINGS[encoding]
        self._step = width * pixel_bytes if step is None else step
        if height < 2 or width < 2 or self._step < width * pixel_bytes:
            raise ImageError(
                f"expected an image of at least 2x2 pixels and {pixel_bytes} bytes a pixel, got {width}x{height} with "
                f"a step of {self._step} bytes"
            )
        if encoding.startswith("yuv422") and width % 2:
            raise ImageError(f"expected an even width for {encoding}, got {width}; two pixels share one color sample")
        self._height = height
        self.size = check_size(size)
        self.launcher = launcher or cuda_launcher()
        self.launcher.prepare("preprocess")
        self._filters: list[Any] = []
        for source, target in zip(shape, self.size, strict=True):
            first, weights = _filter(source, target)
            self._filters += [self.launcher.xp.asarray(first), self.launcher.xp.asarray(weights), weights.shape[1]]

    def launch(self, kernel: str, image: Any, *arguments: Any) -> None:
        if image.ndim < 2 or image.dtype != "uint8" or image.size != self._height * self._step:
            raise ArgumentError(
                f"expected an image of {self._height} rows of {self._step} bytes, got {image.dtype} of shape "
                f"{tuple(image.shape)}; make a new plan"
            )
        check_array("image", image, image.shape)
        grid = (blocks(self.size[1], 32), blocks(self.size[0], 8))
        arguments = (image, self._number, self._step, *self._filters, *arguments, *self.size)
        self.launcher.launch("preprocess", kernel, grid, (32, 8), *arguments)
