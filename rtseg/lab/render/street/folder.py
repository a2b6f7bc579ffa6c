"""Rendered streets as a data set in Cityscapes' own layout, which `rtseg train`, `rtseg evaluate` and
cityscapesscripts read."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path

import cv2

from rtseg.files import write_bytes
from rtseg.lab.render.street.street import render_street

QUALITY = 93
PLACES = 10  # "cities": street0 .. street9, by the seed's last digit, so that some can be held out


def write_streets(
    folder: Path | str,
    seeds: range,
    size: tuple[int, int] = (320, 640),
    split: str = "train",
    workers: int = 2,
    until: float = math.inf,
) -> Path:
    """Render a seed range into ``leftImg8bit/SPLIT/streetN`` and ``gtFine/SPLIT/streetN``; what is there is kept.

    Pictures are JPEG; instance ids have Cityscapes' encoding, in which what is too small to tell apart is a group.

    Args:
        folder: made if missing.
        seeds: one frame each, `render_street(seed, size)`; frame ``streetN_SEED_000000`` has N = seed % 10.
        size: (height, width) of the frames.
        split: "train" or "val".
        workers: processes; with 1 this one renders.
        until: of the clock `time.monotonic`; then it is enough, but for one frame at least.

    Returns:
        `folder`.

    Raises:
        MediaError: if a file cannot be written.
    """
    folder = Path(folder)
    jobs = [(seed, str(folder), split, size) for seed in seeds if not _labels(folder, split, seed).is_file()]
    if workers <= 1:
        for job in jobs:
            _write_one(job)
            if time.monotonic() > until:
                break
    elif jobs:
        from rtseg.progress import Bars

        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            done = pool.imap(_write_one, jobs)
            for _ in Bars.over(done, "rendering streets", total=len(jobs)):
                if time.monotonic() > until:
                    break
    return folder


def seed_of(name: str) -> int:
    """The seed of the frame ``streetN_SEED_000000``."""
    return int(name.split("_")[1])


def _labels(folder: Path, split: str, seed: int) -> Path:
    place = f"street{seed % PLACES}"
    return folder / "gtFine" / split / place / f"{place}_{seed:06d}_000000_gtFine_instanceIds.png"


def _write_one(job: tuple[int, str, str, tuple[int, int]]) -> None:
    from rtseg.lab.data.cityscapes import ids_from_truth

    cv2.setNumThreads(1)
    seed, root, split, size = job
    street = render_street(seed, size)
    labels = _labels(Path(root), split, seed)
    stem = labels.name.removesuffix("_gtFine_instanceIds.png")
    picture = Path(root) / "leftImg8bit" / split / labels.parent.name / f"{stem}_leftImg8bit.jpg"
    _, ids = cv2.imencode(".png", ids_from_truth(street.truth()))
    _, pixels = cv2.imencode(".jpg", street.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    write_bytes(picture, pixels.tobytes())
    # The labels come last, so that an interrupted rendering leaves no half frame that looks whole.
    write_bytes(labels, ids.tobytes())
