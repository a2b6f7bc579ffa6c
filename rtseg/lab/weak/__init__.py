"""Supervision from image keywords: which salient instance shows what (no torch needed for this part).

>>> edges, weights = similarity_graph(features)  # (n, d), one semantic feature for each salient instance
>>> result = assign_tags(edges, weights, probabilities, allowed)  # (n, C) attention and keywords
>>> result.tags, result.objective, result.bound
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtseg.lab.weak.tags.assignment import TagAssignment, assign_tags, count_kept
    from rtseg.lab.weak.tags.graph import similarity_graph

__all__ = ["TagAssignment", "assign_tags", "count_kept", "similarity_graph"]


def __getattr__(name: str) -> Any:
    # Both pull in Numba, which the command line does without until a command runs.
    if name == "similarity_graph":
        from rtseg.lab.weak.tags.graph import similarity_graph

        return similarity_graph
    if name in __all__:
        import rtseg.lab.weak.tags.assignment

        return getattr(rtseg.lab.weak.tags.assignment, name)
    raise AttributeError(f"module 'rtseg.lab.weak' has no attribute {name!r}")
