"""One place between the thread that receives frames and the one that works on them: the newest frame wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Holds at most one item, so that waiting frames never add to the latency."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Leave an item; returns True if it took the place of one that nobody had fetched."""
        with self._condition:
            replaced = self._item is not None
            self._item = item
            self._condition.notify()
        return replaced

    def get(self) -> Item | None:
        """Wait for an item and take it; None once the mailbox is closed."""
        with self._condition:
            while self._item is None and not self._closed:
                self._condition.wait()
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> bool:
        """Wake the reader for the last time; returns True if an item was left in it."""
        with self._condition:
            self._closed = True
            left = self._item is not None
            self._item = None
            self._condition.notify_all()
        return left
