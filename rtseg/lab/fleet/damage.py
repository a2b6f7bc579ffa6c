"""What is said of a recording's files while they are read: damage that costs some of it, and files that are missing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from rtseg.media.storage.base import logger

_MOST = 20  # sentences of a recording


def damage_of(table: pa.Table) -> list[tuple[str, str]]:
    """What was said of the recording of a shard, by its metadata: (address, sentence) each."""
    facts = table.schema.metadata or {}
    said = json.loads(facts.get(b"rtseg.damage", b"[]"))
    return [(facts[b"rtseg.recording"].decode(), sentence) for sentence in said]


class _Sentences(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.said) < _MOST:
            self.said[record.getMessage()] = None


@contextmanager
def damage_noted() -> Iterator[dict[str, None]]:
    """Collect, each once, what the readers of recordings warn of; it goes where it went before, too.

    Yields:
        A set of sentences, in order, that grows while the block runs.
    """
    handler = _Sentences()
    logger.addHandler(handler)
    try:
        yield handler.said
    finally:
        logger.removeHandler(handler)
