"""Recordings as files of this machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import fsspec

from rtseg.lab.fleet.stores import reaching
from rtseg.media import open_frames
from rtseg.media.bags import is_bag
from rtseg.media.frame_source import FrameSource
from rtseg.media.images import ImageSource

METADATA = "metadata.yaml"
"""Of a ROS 2 bag."""


class LocalCopy:
    """Recordings as files of this machine; of remote ones the latest is kept, since its shards come in a row."""

    def __init__(self) -> None:
        self._uri = ""
        self._folder: str | None = None

    def path(self, uri: str) -> str:
        """Where a recording can be opened; a remote one is fetched.

        Raises:
            MediaError: it cannot be fetched.
        """
        if "://" not in uri:
            return uri
        if uri != self._uri:
            self.clear()
            self._folder = tempfile.mkdtemp(prefix="rtseg-fleet-")
            with reaching(uri):
                fs, path = fsspec.core.url_to_fs(uri)
                fs.get(path, f"{self._folder}/{uri.rstrip('/').rpartition('/')[2]}", recursive=fs.isdir(path))
            self._uri = uri
        assert self._folder is not None
        return f"{self._folder}/{uri.rstrip('/').rpartition('/')[2]}"

    def open(self, uri: str, topic: str | None = None) -> FrameSource:
        """Open a recording that :func:`rtseg.lab.fleet.sources.find_recordings` found.

        Args:
            uri: its address; a folder is a bag if it has ``metadata.yaml``, else pictures, whatever else lies in it.
            topic: image topic of bags that have several; other recordings may lie among them.

        Raises:
            MediaError: it cannot be fetched or read.
        """
        path = Path(self.path(uri))
        if path.is_dir() and not (path / METADATA).is_file():
            return ImageSource(path)
        return open_frames(path, topic if is_bag(path) else None)

    def clear(self) -> None:
        """Delete the copy."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._uri, self._folder = "", None
