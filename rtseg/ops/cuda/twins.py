"""What :mod:`rtseg.ops` calls for arrays on a device; see there for arguments, results and errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from rtseg.errors import GroupingError, ImageError
from rtseg.ops.adjacency import Offsets, check_offsets
from rtseg.ops.cuda.affinity import UnionPlan
from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.ops.cuda.mask_nms import MaskNmsPlan
from rtseg.ops.cuda.merging import AffinityUnionPlan
from rtseg.ops.cuda.module import Launcher, cuda_launcher
from rtseg.ops.cuda.preprocess import PreprocessPlan, ResizePlan
from rtseg.ops.cuda.statistics import MeansPlan, StatisticsPlan
from rtseg.ops.cuda.status import check_status
from rtseg.ops.mask_nms import check_nms

_MOST_PLANS = 8  # kept with their buffers: a process sees few frame sizes


@lru_cache(maxsize=_MOST_PLANS)
def _plan(kind: Any, launcher: Launcher, device: int, stream: int, *arguments: Any) -> Any:
    return kind(*arguments, launcher=launcher)


def _plan_for(kind: Any, *arguments: Any) -> Any:
    # Buffers are the plan's own: calls on two streams at once must not share them.
    launcher = cuda_launcher()
    cuda = launcher.xp.cuda
    return _plan(kind, launcher, cuda.runtime.getDevice(), cuda.get_current_stream().ptr, *arguments)


def _on_device(array: Any, dtype: str | None = None) -> Any:
    cupy = cuda_launcher().xp
    return cupy.ascontiguousarray(cupy.asarray(array), dtype=dtype)


def _labels(labels: Any, wide: bool) -> Any:
    array = _on_device(labels)
    if array.ndim != 2 or array.dtype.kind not in "bui":
        raise GroupingError(f"expected an (H, W) integer label image, got {array.dtype} of shape {array.shape}")
    if not wide:
        if array.dtype.itemsize > 4 or array.dtype == "uint32":
            array = array.clip(-1 if array.dtype.kind == "i" else 0, 2**31 - 1)  # what is too great must not wrap round
        return array.astype("int32", copy=False)
    if array.dtype.itemsize == 1:
        return array.view("uint8")
    if array.dtype.itemsize == 2:
        return array.astype("int32")
    return array.view("int32" if array.dtype.itemsize == 4 else "int64")


def _maps(maps: Any) -> Any:
    array = _on_device(maps)
    if array.ndim != 3 or array.dtype.kind != "f":
        raise GroupingError(f"expected (C, H, W) float maps, got {array.dtype} of shape {array.shape}")
    return array.astype("float32", copy=False)


def _image(image: Any) -> Any:
    array = _on_device(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != "uint8":
        raise ImageError(f"expected an (H, W, 3) uint8 BGR image, got {array.dtype} array of shape {array.shape}")
    return array


def label_components(labels: Any, connectivity: int = 8) -> tuple[Any, int]:
    """As :func:`rtseg.ops.label_components`; waits for the device to read the count."""
    image = _labels(labels, wide=True)
    plan = _plan_for(ComponentsPlan, image.shape, connectivity)
    components = cuda_launcher().xp.empty(image.shape, "int32")
    plan.run(image, components)
    return components, int(plan.count[0])


def upsample_argmax(maps: Any, size: tuple[int, int]) -> Any:
    """As :func:`rtseg.ops.upsample_argmax`; values that no target pixel reads may be anything."""
    source = _maps(maps)
    plan = _plan_for(ColoringPlan, source.shape, tuple(size))
    out = cuda_launcher().xp.empty(size, "uint8")
    plan.run(source, out)
    check_status(plan.status)
    return out


def region_statistics(labels: Any, count: int) -> Any:
    """As :func:`rtseg.ops.region_statistics`, with arrays on the device."""
    from rtseg.ops.statistics import RegionStatistics

    image = _labels(labels, wide=False)
    plan = _plan_for(StatisticsPlan, image.shape, _room(count))
    plan.run(image, count)
    check_status(plan.status)
    return RegionStatistics(plan.areas[:count].copy(), plan.boxes[:count].copy(), plan.centers[:count].copy())


def region_means(labels: Any, count: int, maps: Any) -> Any:
    """As :func:`rtseg.ops.region_means`."""
    image, values = _labels(labels, wide=False), _maps(maps)
    plan = _plan_for(MeansPlan, values.shape, _room(count))
    plan.run(image, values, count)
    check_status(plan.status)
    return plan.means[:count].copy()


def resize_image(image: Any, size: tuple[int, int]) -> Any:
    """As :func:`rtseg.ops.resize_image`."""
    source = _image(image)
    plan = _plan_for(ResizePlan, source.shape[:2], tuple(size))
    out = cuda_launcher().xp.empty((*size, 3), "uint8")
    plan.run(source, out)
    return out


def preprocess(
    image: Any,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    order: Literal["rgb", "bgr"] = "rgb",
    out: Any = None,
) -> Any:
    """As :func:`rtseg.ops.preprocess`; `out` may be float16 as well."""
    source = _image(image)
    if out is None:
        out = cuda_launcher().xp.empty((1, 3, *size), "float32")
    plan = _plan_for(
        PreprocessPlan, source.shape[:2], tuple(size), tuple(mean), tuple(std), order, "bgr8", None, str(out.dtype)
    )
    plan.run(source, out)
    return out


def union_affinities(affinity: Any, offsets: Offsets, threshold: float, mask: Any = None) -> Any:
    """As :func:`rtseg.ops.union_affinities`."""
    maps = _maps(affinity)
    plan = _plan_for(UnionPlan, maps.shape, _pairs(offsets, maps.shape), float(threshold))
    labels = cuda_launcher().xp.empty(maps.shape[1:], "int32")
    plan.run(maps, labels, None if mask is None else _on_device(mask))
    check_status(plan.status)
    return labels


def affinity_union(
    affinity: Any,
    offsets: Offsets,
    superpixel_threshold: float | None = 0.98,
    threshold: float = 0.5,
    mask: Any = None,
) -> Any:
    """Merge affinities to labels; parameters as :class:`AffinityUnionPlan`, errors where its status is not 0.

    Returns:
        (H, W) int32 on the device, consecutive in raster order of first pixels, 0 off the mask.

    Raises:
        GroupingError: if shapes or parameters do not fit, affinities are NaN or outside [0, 1], or buffers overflow.
    """
    maps = _maps(affinity)
    plan = _plan_for(AffinityUnionPlan, maps.shape, _pairs(offsets, maps.shape), superpixel_threshold, float(threshold))
    labels = cuda_launcher().xp.empty(maps.shape[1:], "int32")
    plan.run(maps, labels, None if mask is None else _on_device(mask))
    check_status(plan.status)
    return labels


def matrix_nms(masks: Any, scores: Any, kernel: Literal["gaussian", "linear"] = "gaussian", sigma: float = 2.0) -> Any:
    """As :func:`rtseg.ops.matrix_nms`, with the lowered scores on the device."""
    plan, count = _suppressed(masks, scores, kernel, float(sigma), 0.5)
    return plan.scores[:count].copy()


def fast_nms(masks: Any, scores: Any, threshold: float = 0.5) -> Any:
    """As :func:`rtseg.ops.fast_nms`, with the answer on the device."""
    plan, count = _suppressed(masks, scores, "fast", 2.0, float(threshold))
    kept = cuda_launcher().xp.empty(count, "bool")
    kept[plan.ranked[:count]] = plan.covered[:count] <= threshold
    return kept


def _suppressed(masks: Any, scores: Any, method: str, sigma: float, threshold: float) -> tuple[Any, int]:
    check_nms(method if method == "linear" else "gaussian", sigma, threshold)
    array, values = _on_device(masks), _on_device(scores, "float32")
    count = len(array) if array.ndim == 3 else -1
    xp = cuda_launcher().xp
    if array.dtype != "bool" or values.shape != (count,) or not bool(((values >= 0) & (values < xp.inf)).all()):
        raise GroupingError(
            f"expected masks (n, H, W) bool with one finite score of 0 or more each, got {array.dtype} of shape "
            f"{array.shape} and scores of shape {values.shape}"
        )
    pixels = max(array.shape[1] * array.shape[2], 1)
    plan = _plan_for(MaskNmsPlan, _room(count), pixels, method, sigma, threshold)
    if count and array.size:
        plan.pack(array.view("uint8"))
    elif count:
        plan.bits.fill(0)
    plan.scores[:count] = values
    plan.run(xp.full(1, count, "int32"))
    return plan, count


def _room(count: int) -> int:
    """Round up, so that frames with about as many regions share a plan."""
    if count < 0:
        raise GroupingError(f"expected a count of regions of 0 or more, got {count}")
    return 1 << max(int(count) - 1, 255).bit_length()


def _pairs(offsets: Offsets, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(offset) for offset in check_offsets(offsets, shape).tolist())
