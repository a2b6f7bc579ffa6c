"""Recordings as files of this machine."""

from __future__ import annotations

import shutil
import tempfile

import fsspec

from rtseg.errors import MediaError


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
            try:
                fs, path = fsspec.core.url_to_fs(uri)
                fs.get(path, f"{self._folder}/{uri.rstrip('/').rpartition('/')[2]}", recursive=fs.isdir(path))
            except OSError as error:
                raise MediaError(f"expected to fetch {uri}, got {error}; check the address and the disk") from error
            self._uri = uri
        assert self._folder is not None
        return f"{self._folder}/{uri.rstrip('/').rpartition('/')[2]}"

    def clear(self) -> None:
        """Delete the copy."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._uri, self._folder = "", None
