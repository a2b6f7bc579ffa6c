"""Recordings of ROS messages as files: MCAP, SQLite, and the bags of ROS 1, whole or damaged.

Nothing that a file declares is trusted: not its index, not a length, not what it unpacks to. What is sound is given,
what is left out is told, and memory stays bounded.
"""

from rtseg.media.storage.base import Channel, Storage, StoredMessage
from rtseg.media.storage.folder import is_bag, open_recording

__all__ = ["Channel", "Storage", "StoredMessage", "is_bag", "open_recording"]
