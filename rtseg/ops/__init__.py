"""Array primitives on NumPy arrays, compiled by Numba; their CUDA kernels are plans in :mod:`rtseg.ops.cuda`."""

from __future__ import annotations

from rtseg.ops.adjacency import RegionGraph, region_adjacency
from rtseg.ops.coloring import upsample_argmax
from rtseg.ops.components import Runs, label_components, label_runs
from rtseg.ops.mask_nms import fast_nms, mask_overlaps, matrix_nms
from rtseg.ops.preprocess import preprocess, resize_image
from rtseg.ops.statistics import RegionStatistics, region_means, region_statistics
from rtseg.ops.union_find import union_affinities

__all__ = [
    "RegionGraph",
    "RegionStatistics",
    "Runs",
    "fast_nms",
    "label_components",
    "label_runs",
    "mask_overlaps",
    "matrix_nms",
    "preprocess",
    "region_adjacency",
    "region_means",
    "region_statistics",
    "resize_image",
    "union_affinities",
    "upsample_argmax",
]
