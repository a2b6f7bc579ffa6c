"""What the rows of a shard say of damage to its recording."""

from __future__ import annotations

import json

import pyarrow as pa


def damage_of(table: pa.Table) -> list[tuple[str, str]]:
    """What was said of the recording of a shard, by its metadata: (address, sentence) each."""
    facts = table.schema.metadata or {}
    said = json.loads(facts.get(b"rtseg.damage", b"[]"))
    return [(facts[b"rtseg.recording"].decode(), sentence) for sentence in said]
