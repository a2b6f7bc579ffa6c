"""The stage that asks for proposals, frame by frame; what an interrupted run has asked for is not asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtseg.counted import counted
from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.annotations import Proposals, load_annotations, read_annotations, write_annotations
from rtseg.lab.weak.proposals import FrameFile, ProposalSource, collect_proposals

PROPOSALS = "proposals.json"
_BATCH = 32  # frames a file of an unfinished stage


def build_proposals(
    files: Sequence[FrameFile],
    source: ProposalSource,
    min_area: int,
    folder: Path,
    step: Callable[[int, int], None],
) -> dict[str, Any]:
    """Write the proposals of all frames to `folder/proposals.json`.

    Returns:
        A summary: the source, how many instances, and what was left out.

    Raises:
        WeakSupervisionError: there is not one instance.
    """
    parts: list[Proposals] = []
    left_out: Counter[str] = Counter()
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        step(done, len(files))

    paths = []
    for first in range(0, len(files), _BATCH):
        batch = files[first : first + _BATCH]
        path = folder / f"part-{first:06d}.json"
        missing: Mapping[str, int]
        if path.is_file():
            found, _, _ = load_annotations(path)
            missing = read_annotations(path)["info"]["left_out"]
        else:
            found, missing = collect_proposals(batch, source.find, min_area, advance)
            write_annotations(path, found, info={"left_out": dict(missing)})
        parts.append(found)
        left_out.update(missing)
        done = first + len(batch)
        paths.append(path)
    found = _join(parts)
    if not len(found):
        reasons = "; ".join(f"{why} ({count})" for why, count in left_out.items())
        for path in paths:  # asked again next time, when the cause is mended
            path.unlink()
        raise WeakSupervisionError(
            f"expected instances from {source.name} on {counted(len(files), 'frame')}, got none: {reasons}; "
            "check that its files are named as the frames, and min_area"
        )
    write_annotations(folder / PROPOSALS, found)
    for path in paths:
        path.unlink()
    return {"source": source.name, "instances": len(found), "left_out": dict(left_out)}


def _join(parts: Sequence[Proposals]) -> Proposals:
    """Proposals of consecutive frames as one."""
    first = np.cumsum([0, *(len(part.names) for part in parts)])
    return Proposals(
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.frames + np.int32(first[i]) for i, part in enumerate(parts)]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.areas for part in parts]),
        np.concatenate([part.scores for part in parts]),
        tuple(runs for part in parts for runs in part.runs),
    )
