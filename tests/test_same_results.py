"""What the bundled models find stays the same bit for bit, unless a model or a method is meant to change.

Digests of masks, ids, confidences and polylines were taken on one CPU; on another, ONNX Runtime may compute int8
layers differently, so digests count only where the network's own outputs are those that were recorded.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtseg
from rtseg.frame import Frame
from rtseg.lab.render import Drive, StreetDrive
from rtseg.media import open_frames
from rtseg.results import Instances, Lanes

RECORDED = json.loads(Path(__file__).with_name("same_results.json").read_text(encoding="utf-8"))
"""By model file (first 8 hex digits of its hash) and source: digest of the first head maps, digest of the results."""
MODELS = (
    "lanes-lite",
    "lanes-r18",
    "instances-lite",
    "gmis-lite",
    "l2c-instances-lite",
    "salient-lite",
    "exemplar-solo",
)
FRAMES = {"drive": 40, "challenge_10hz_compressed_mcap": 60, "challenge_raw640_sqlite3": 12}


@lru_cache
def _drive(task: str) -> list[np.ndarray]:
    drive: Any = (Drive if task == "lanes" else StreetDrive)(11, 2.0, 30.0, (720, 1280))
    return [rendered.image for rendered in itertools.islice(drive, FRAMES["drive"])]


def _frames(source: str, task: str, bags: Callable[[], Path]) -> Iterator[Frame]:
    if source == "drive":
        for i, image in enumerate(_drive(task)):
            yield Frame(image, stamp=int(i * 1e9 / 30), frame_id="camera")
    else:
        with open_frames(bags() / source) as frames:
            yield from itertools.islice(frames, FRAMES[source])


def _digest(arrays: Iterator[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str((array.dtype, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _arrays(result: Lanes | Instances) -> tuple[np.ndarray, ...]:
    if isinstance(result, Lanes):
        return (result.mask, result.ids, result.confidence, *result.polylines)
    boxes = (result.boxes, result.areas, result.centers)
    return (result.labels, result.ids, result.class_ids, result.scores, *boxes)


@pytest.mark.slow
@pytest.mark.parametrize("source", FRAMES)
@pytest.mark.parametrize("model", MODELS)
def test_results_stay_the_same(model: str, source: str, request: pytest.FixtureRequest) -> None:
    pipeline = rtseg.load(model, device="cpu", backend="onnxruntime", threads=2)
    key = f"{model} {pipeline.card.model.sha256[:8]} {source}"
    if key not in RECORDED:
        pytest.skip(f"no digest was recorded for {key}")
    maps, expected = RECORDED[key]
    frames = _frames(source, pipeline.card.task, lambda: request.getfixturevalue("driving_data") / "bags")
    first = next(frames)
    found = pipeline.head_maps(first)[0]
    if _digest(found[name] for name in sorted(found)) != maps:
        pytest.skip("this machine's network outputs are not those that were recorded")
    results = (pipeline(frame) for frame in itertools.chain([first], frames))
    assert _digest(array for result in results for array in _arrays(result)) == expected
