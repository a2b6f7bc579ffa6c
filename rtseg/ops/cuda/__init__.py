"""CUDA twins of :mod:`rtseg.ops` and the fixed-buffer plans that a CUDA graph captures.

The functions take and give arrays on the device and are what :mod:`rtseg.ops` calls for such arrays. They keep the
plans of the last few shapes, allocate their results, and wait for the device to see how many regions there are and
whether anything is wrong. On a frame's way the plans are used directly: they do neither.

Importing this package needs no GPU; CuPy is imported when a plan is made.
"""

from __future__ import annotations

from rtseg.ops.cuda.affinity import UnionPlan
from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.ops.cuda.mask_nms import MaskNmsPlan
from rtseg.ops.cuda.merging import AffinityUnionPlan
from rtseg.ops.cuda.preprocess import PreprocessPlan, ResizePlan
from rtseg.ops.cuda.runs import RunsPlan
from rtseg.ops.cuda.solo import SoloPlan
from rtseg.ops.cuda.statistics import MeansPlan, StatisticsPlan
from rtseg.ops.cuda.status import check_status
from rtseg.ops.cuda.twins import (
    affinity_union,
    fast_nms,
    label_components,
    matrix_nms,
    preprocess,
    region_means,
    region_statistics,
    resize_image,
    union_affinities,
    upsample_argmax,
)

__all__ = [
    "AffinityUnionPlan",
    "ColoringPlan",
    "ComponentsPlan",
    "MaskNmsPlan",
    "MeansPlan",
    "PreprocessPlan",
    "ResizePlan",
    "RunsPlan",
    "SoloPlan",
    "StatisticsPlan",
    "UnionPlan",
    "affinity_union",
    "check_status",
    "fast_nms",
    "label_components",
    "matrix_nms",
    "preprocess",
    "region_means",
    "region_statistics",
    "resize_image",
    "union_affinities",
    "upsample_argmax",
]
