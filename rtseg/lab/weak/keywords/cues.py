"""The stages that look at pictures: attention, what it thinks of each proposal, and semantic features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import nn

from rtseg.errors import WeakSupervisionError
from rtseg.files import write_bytes
from rtseg.lab.data.selection import evenly
from rtseg.lab.weak.annotations import Proposals
from rtseg.lab.weak.keywords.attention import (
    AttentionNet,
    AttentionSettings,
    attend,
    box_probabilities,
    train_attention,
)
from rtseg.lab.weak.keywords.features import FeatureNet, FeatureSettings, cut_regions, extract_features, train_features
from rtseg.lab.weak.keywords.keywords import Keywords
from rtseg.lab.weak.keywords.sheet import draw_attention
from rtseg.lab.weak.proposals import FrameFile
from rtseg.media.images import read_image, write_image

WEIGHTS = "model.safetensors"
_DRAWN = 6  # frames whose attention is drawn

Step = Callable[[int, int], None]
"""Told of the steps done and the steps there are."""


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as .npz."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what :func:`save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def build_attention(
    files: Sequence[FrameFile], keywords: Keywords, settings: AttentionSettings, folder: Path, step: Step
) -> dict[str, Any]:
    """Train the attention module on all frames with known keywords, those that show none of them too."""
    known = np.flatnonzero(keywords.known)
    paths = [files[i].path for i in known.tolist()]
    net, losses = train_attention(paths, keywords.present[known], settings, folder, step)
    _save(net, folder)
    return {"frames": len(paths), "losses": [round(loss, 5) for loss in losses]}


def build_probabilities(
    files: Sequence[FrameFile],
    proposals: Proposals,
    classes: Sequence[str],
    attention: Path,
    settings: AttentionSettings,
    folder: Path,
    step: Step,
) -> dict[str, Any]:
    """Ask the attention module about every proposal (eq 2), and draw what it sees on a few frames."""
    weights = load_file(attention / WEIGHTS)
    net = AttentionNet(len(weights["coarse.bias"]), pretrained=False)
    net.load_state_dict(weights)
    net.eval()
    frames = np.unique(proposals.frames).tolist()
    drawn = set(evenly(frames, _DRAWN))
    rows: list[NDArray[np.float64]] = []

    def visit(index: int, maps: NDArray[np.float32]) -> None:
        frame = frames[index]
        members = proposals.of_frame(frame)
        rows.append(box_probabilities(maps, proposals.boxes[members.start : members.stop], proposals.size(frame)))
        if frame in drawn:
            picture = draw_attention(np.asarray(read_image(files[frame].path), np.uint8), maps, classes)
            write_image(folder / "attention" / f"{files[frame].path.stem}.jpg", picture)
        step(index + 1, len(frames))

    attend(net, [files[frame].path for frame in frames], settings.size, visit)
    save_arrays(folder / "probabilities.npz", probabilities=np.concatenate(rows))
    return {"instances": len(proposals)}


def build_features(
    files: Sequence[FrameFile],
    proposals: Proposals,
    keywords: Keywords,
    settings: FeatureSettings,
    folder: Path,
    step: Step,
) -> dict[str, Any]:
    """Train the extractor on the proposals whose class the keywords leave no doubt about, then apply it to all."""
    allowed = keywords.present[proposals.frames]
    sure = np.flatnonzero(allowed.sum(1) == 1)
    labels = allowed[sure].argmax(1)
    losses: list[float] = []
    if (folder / WEIGHTS).is_file():  # trained before the interruption
        net = FeatureNet(len(keywords.classes), pretrained=False).eval()
        net.load_state_dict(load_file(folder / WEIGHTS))
    else:
        regions = _regions(files, proposals, sure, settings)
        net, losses = train_features(
            regions, labels, len(keywords.classes), settings, folder, lambda done, total: step(done, total + len(files))
        )
        _save(net, folder)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        step(done, len(files))

    features = extract_features(net, [file.path for file in files], proposals, settings, advance)
    if not features.any(axis=1).all():
        raise WeakSupervisionError("expected features that are not zero, got some; look for blank regions")
    save_arrays(folder / "features.npz", features=features)
    return {"instances": len(proposals), "trained_on": len(sure), "losses": [round(loss, 5) for loss in losses]}


def _regions(
    files: Sequence[FrameFile], proposals: Proposals, members: NDArray[np.intp], settings: FeatureSettings
) -> NDArray[np.uint8]:
    regions = np.empty((len(members), settings.side, settings.side, 3), np.uint8)
    for frame in np.unique(proposals.frames[members]).tolist():
        rows = np.flatnonzero(proposals.frames[members] == frame)
        image = np.asarray(read_image(files[frame].path), np.uint8)
        regions[rows] = cut_regions(image, proposals.boxes[members[rows]], settings.side, settings.margin)
    return regions


def _save(net: nn.Module, folder: Path) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    write_bytes(folder / WEIGHTS, serialized(tensors))
