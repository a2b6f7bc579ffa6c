"""Small pictures of colored shapes, labelled: a data set for the whole way from keywords to labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.data.coco import write_coco
from rtseg.lab.data.instance_labels import InstanceTruth

CLASSES = ("ball", "box", "cone")
SIZE = (64, 128)


def draw_shapes(seed: int) -> tuple[NDArray[np.uint8], InstanceTruth]:
    """A noisy gray picture with one to three shapes side by side: red discs, blue squares, green triangles."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 130, (*SIZE, 3)).astype(np.uint8)
    instances, semantic = np.zeros(SIZE, np.int32), np.zeros(SIZE, np.uint8)
    # Every third picture shows one class alone.
    kinds = [seed // 3 % 3] * 2 if seed % 3 == 0 else rng.integers(0, 3, 3).tolist()
    for number, kind in enumerate(kinds, 1):
        x, y = int(20 + 42 * (number - 1) + rng.integers(-3, 4)), int(32 + rng.integers(-10, 11))
        radius = int(rng.integers(11, 15))
        mask = np.zeros(SIZE, np.uint8)
        if kind == 0:
            cv2.circle(mask, (x, y), radius, 1, -1)
        elif kind == 1:
            cv2.rectangle(mask, (x - radius, y - radius), (x + radius, y + radius), 1, -1)
        else:
            corners = np.array([[x, y - radius], [x - radius, y + radius], [x + radius, y + radius]])
            cv2.fillPoly(mask, [corners], 1)
        color = np.array([(30, 30, 220), (220, 60, 30), (40, 200, 60)][kind])
        image[mask > 0] = np.clip(color + rng.integers(-20, 21, (int(mask.sum()), 3)), 0, 255)
        instances[mask > 0], semantic[mask > 0] = number, 1 + kind
    return image, InstanceTruth(instances, semantic, np.array(kinds, np.int32))


def write_shapes(folder: Path, count: int) -> Path:
    """Write a COCO data set of `count` pictures; returns its JSON file."""
    (folder / "images").mkdir(parents=True)
    truths = []
    for seed in range(count):
        image, truth = draw_shapes(seed)
        cv2.imwrite(str(folder / "images" / f"shape_{seed:03d}.png"), image)
        truths.append((f"shape_{seed:03d}.png", truth))
    write_coco(folder / "instances.json", truths, CLASSES)
    return folder / "instances.json"


def keywords_of(truth: InstanceTruth) -> list[str]:
    """Names of the classes in a picture."""
    return [CLASSES[i] for i in sorted(set(truth.class_ids.tolist()))]
