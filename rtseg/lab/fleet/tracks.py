"""One numbering of tracks for a recording that was done in shards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from rtseg.lab.fleet.shard_rows import marks


def stitch(shards: Iterable[pa.Table]) -> list[dict[int, int]]:
    """Number the tracks of a recording through.

    Each shard numbers its ids by itself. The frames that lead in to it are the last ones of the shard before, and what
    looks the same in them is the same track.

    Args:
        shards: rows of the shards of one recording in the order of its time, metadata included.

    Returns:
        For each shard, id -> track; tracks count from 1 and none is used again.
    """
    mappings: list[dict[int, int]] = []
    count = 0
    before: list[list[list[Any]]] = []
    for table in shards:
        lead = json.loads((table.schema.metadata or {}).get(b"rtseg.lead", b"[]"))
        mapping: dict[int, int] = {}
        taken: set[int] = set()
        # From the boundary back: the latest frame that shows an id decides.
        for ours, theirs in zip(reversed(lead), reversed(before), strict=False):
            same = {mark: identity for identity, mark in theirs}
            for identity, mark in ours:
                track = mappings[-1].get(same[mark]) if mark in same else None
                if track is not None and identity not in mapping and track not in taken:
                    mapping[identity] = track
                    taken.add(track)
        here = [
            marks(row) for row in table.select(["lanes", "objects", "found"]).to_pylist() if row["found"] is not None
        ]
        for frame in here:
            for identity, _ in frame:
                if identity not in mapping:
                    count += 1
                    mapping[identity] = count
        mappings.append(mapping)
        before = here
    return mappings
