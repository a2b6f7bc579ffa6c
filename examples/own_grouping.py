"""One's own way from affinities to instances, on the outputs of a bundled network: ``python examples/own_grouping.py``.

``Pipeline.head_maps`` gives what the network puts out; what is made of it is yours. Here pixels of one class are joined
where all four neighbors agree that they belong together, beside what the model's own method, graph merge, makes of the
same maps. How a method becomes a part of rtseg that cards can name is told in CONTRIBUTING.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import rtseg
from rtseg.lab.render import render_street
from rtseg.media.images import read_image, write_image

LEAST = 12  # pixels of the map that an instance has at least


def group(semantic: NDArray[np.float32], affinity: NDArray[np.float32]) -> NDArray[np.int32]:
    """Group the maps of a GMIS network.

    Args:
        semantic: (1 + classes, h, w) class probabilities, background first.
        affinity: (K, h, w) probabilities that a pixel and one of its neighbors are of one instance.

    Returns:
        (h, w) int32 labels 1..n, 0 where there is no object.
    """
    classes = semantic.argmax(axis=0)
    together = affinity.mean(axis=0) > 0.6
    labels = np.zeros(classes.shape, np.int32)
    for kind in np.unique(classes[classes > 0]):
        count, parts = cv2.connectedComponents(((classes == kind) & together).astype(np.uint8), connectivity=4)
        for part in range(1, count):
            if np.count_nonzero(parts == part) >= LEAST:
                labels[parts == part] = labels.max() + 1
    return labels


def main(paths: list[str], out: Path = Path("out/own_grouping")) -> tuple[NDArray[np.int32], rtseg.Instances]:
    """Group a picture that is named, or a rendered street."""
    picture = read_image(paths[0]) if paths else render_street(5, (320, 640)).image
    pipeline = rtseg.load("gmis-lite")
    maps, _ = pipeline.head_maps(picture)
    labels = group(maps["semantic"][0], maps["affinity"][0])
    theirs = pipeline(picture)
    assert isinstance(theirs, rtseg.Instances)
    print(f"{labels.max()} instances, graph merge found {len(theirs)}")
    hues = (labels * 47 % 180).astype(np.uint8)
    colors = cv2.cvtColor(np.dstack([hues, np.full_like(hues, 200), (labels > 0) * np.uint8(255)]), cv2.COLOR_HSV2BGR)
    size = (picture.shape[1], picture.shape[0])
    write_image(out / "instances.png", cv2.resize(colors, size, interpolation=cv2.INTER_NEAREST))
    return labels, theirs


if __name__ == "__main__":
    main(sys.argv[1:])
