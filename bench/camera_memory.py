"""Memory of several cameras in one process, with a pipeline each of one model.

python bench/camera_memory.py --model lanes-lite --cameras 3 --out bench/results/camera_memory.json
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from told import anonymous_mib, machine, tell

import rtseg
from rtseg.frame import Frame


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lanes-lite")
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    picture = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    pipelines, taken = [], []
    for _ in range(arguments.cameras):
        pipeline = rtseg.load(arguments.model, device="cpu")
        pipeline.warm_up()
        for number in range(3):
            pipeline(Frame(picture, stamp=number * 10**8))
        pipelines.append(pipeline)
        taken.append(round(anonymous_mib(os.getpid()), 1))
    tell({"model": arguments.model, "anonymous_mib_by_cameras": taken, **machine()}, arguments.out)


if __name__ == "__main__":
    main()
