"""Where the labels of a recording lie, if there are any."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

SUFFIX = ".labels"
"""``drive.labels`` beside ``drive.mp4`` or the bag ``drive`` is no recording, but its labels."""

_NAMES = (
    *("*label*.json", "instances*.json", "_annotations.coco.json", "annotations.xml", "*.lines.txt"),
    "classes.json",  # of polygons in the folder "labels"
)
_POLYGONS = "labels"

Infos = dict[str, dict[str, Any]]


def holds_labels(path: str, root: str) -> bool:
    """Whether a file below `root` lies in a folder of labels."""
    return any(part.endswith(SUFFIX) for part in path[len(root) :].split("/")[:-1])


class LabelFinder:
    """Finds labels beside recordings; each folder is listed once.

    Args:
        fs: file system of fsspec.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._listed: dict[str, Infos] = {}

    def find(self, path: str, pictures: Collection[str] = ()) -> tuple[str, Infos]:
        """The labels' folder, empty where there is none, and its files.

        Those of a folder of pictures lie in it or in the folder around it, those of ``drive.mp4`` or of the bag
        ``drive`` in ``drive.labels``.

        Args:
            path: of the recording.
            pictures: of a folder of pictures, their paths.
        """
        if pictures:
            stems = {PurePosixPath(picture).stem for picture in pictures}
            for folder in (path, path.rpartition("/")[0]):
                if files := self._among(folder, stems):
                    return folder, files
            return "", {}
        here = self._list(path.rpartition("/")[0])
        for folder in dict.fromkeys((f"{path}{SUFFIX}", str(PurePosixPath(path).with_suffix(SUFFIX)))):
            if here.get(folder, {}).get("type") == "directory":
                return folder, self._fs.find(folder, detail=True)
        return "", {}

    def _among(self, folder: str, stems: Collection[str]) -> Infos:
        """The files of a folder that are named as labels are, or in labelme's way as pictures."""
        found: Infos = {}
        for path, info in self._list(folder).items():
            name = path.rpartition("/")[2]
            drawn = name.endswith(".json") and name.removesuffix(".json") in stems
            if info["type"] == "file" and (drawn or any(fnmatchcase(name, pattern) for pattern in _NAMES)):
                found[path] = info
                if name == "classes.json":
                    found |= self._fs.find(f"{folder}/{_POLYGONS}", detail=True)
        return found

    def _list(self, folder: str) -> Infos:
        if folder not in self._listed:
            try:
                self._listed[folder] = {info["name"].rstrip("/"): info for info in self._fs.ls(folder, detail=True)}
            except OSError:  # a parent that may not be looked into
                self._listed[folder] = {}
        return self._listed[folder]
