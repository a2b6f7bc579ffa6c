"""What every kind of recording file looks like to the rest: channels, and messages in the order of the file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rtseg.media.damage import logger
from rtseg.printing import visible

MAX_MESSAGE = 1 << 28
"""Bytes of the largest message that is read; a record that claims more is damaged, or hostile."""


class Channel(NamedTuple):
    """A topic, what its messages are (``package/msg/Name``) and how they are written (``cdr`` or ``ros1``)."""

    topic: str
    msgtype: str
    encoding: str


class StoredMessage(NamedTuple):
    """One message as it lies in the file; `stamp` is the recorder's time in nanoseconds."""

    channel: Channel
    stamp: int
    data: bytes


class Storage(ABC):
    """One file of a recording.

    Attributes:
        path: the file, as the user named it.
        counts: messages by channel: those its index counts, or those that were found in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[Channel, int] = {}
        self._told: set[str] = set()

    @abstractmethod
    def messages(self, topics: set[str]) -> Iterator[StoredMessage]:
        """Give the messages of some topics, as far as they can be read; what cannot be read is passed over and told."""

    def close(self) -> None:
        """Give back the file."""
        return None

    def tell(self, fault: str) -> None:
        """Warn of something that is left out or uncertain, once."""
        if fault not in self._told:
            self._told.add(fault)
            logger.warning("%s %s", visible(self.path), fault)

    def _count(self, messages: Iterator[Channel]) -> int:
        """Count what is there one by one, where no index tells."""
        self.counts = {}
        for channel in messages:
            self.counts[channel] = self.counts.get(channel, 0) + 1
        return sum(self.counts.values())


def message_type(name: str) -> str:
    """A type's name in the form of ROS 2, ``package/msg/Name``, whichever generation wrote it."""
    package, _, rest = name.partition("/")
    return f"{package}/msg/{rest}" if rest and "/" not in rest else name.replace("::", "/")
