"""Supervision from image keywords: which salient instance shows what (no torch needed for this part).

>>> import numpy as np
>>> from rtseg.lab.weak import assign_tags, similarity_graph
>>> features = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]  # (n, d), one semantic feature for each salient instance
>>> edges, weights = similarity_graph(features)
>>> probabilities = np.float32([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])  # (n, C), of the attention
>>> keywords = np.ones((4, 2), bool)  # (n, C), of each instance's picture
>>> result = assign_tags(edges, weights, probabilities, keywords, retention=1.0)
>>> result.tags.tolist()
[0, 0, 1, 1]
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
