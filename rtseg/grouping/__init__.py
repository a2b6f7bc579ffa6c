"""Raw head maps to label images: the papers' grouping methods."""

from rtseg.grouping.affinity_union import affinity_union
from rtseg.grouping.cascade import CascadeLevel, cascade_gaec
from rtseg.grouping.coloring import color_components
from rtseg.grouping.gaec import gaec
from rtseg.grouping.graph_merge import GMIS_OFFSETS, GraphMergeSettings, graph_merge
from rtseg.grouping.grouped import GroupedInstances
from rtseg.grouping.position_aware import pa_gaec, segment_affinity
from rtseg.grouping.solo import SoloLevel, SoloMasks, SoloSettings, solo_instances, solo_masks

__all__ = [
    "GMIS_OFFSETS",
    "CascadeLevel",
    "GraphMergeSettings",
    "GroupedInstances",
    "SoloLevel",
    "SoloMasks",
    "SoloSettings",
    "affinity_union",
    "cascade_gaec",
    "color_components",
    "gaec",
    "graph_merge",
    "pa_gaec",
    "segment_affinity",
    "solo_instances",
    "solo_masks",
]
