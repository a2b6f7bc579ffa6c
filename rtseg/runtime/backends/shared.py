"""Networks that are open are opened once in a process, however many cameras run them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

Opened = TypeVar("Opened")


class OpenNetworks(Generic[Opened]):
    """What a library holds of networks, for as long as somebody uses it.

    Only for what may be run from several threads at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: weakref.WeakValueDictionary[Hashable, Opened] = weakref.WeakValueDictionary()

    def get(self, model: Path, settings: Hashable, open_network: Callable[[], Opened]) -> Opened:
        """Give what is open of a file, opening it if nothing is; a file that was written anew is another.

        Args:
            model: the network's file.
            settings: what else makes a difference.
            open_network: opens it.
        """
        with self._lock:
            status = model.stat()
            key = (str(model.resolve()), status.st_mtime_ns, status.st_size, settings)
            found = self._opened.get(key)
            if found is None:
                found = self._opened[key] = open_network()
            return found
