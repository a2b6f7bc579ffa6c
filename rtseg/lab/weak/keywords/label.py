"""From recorded frames and keywords to labels for training: the stages of ``rtseg weak label``, one product each.

| stage | product |
|---|---|
| 01-frames | pictures, their list, and a keyword file to fill in |
| 02-proposals | `proposals.json`, class-agnostic masks as COCO JSON |
| 03-keywords | `keywords.json`, the keywords of each frame |
| 04-attention | the attention module (section 3.1) and pictures of what it sees |
| 05-probabilities | `probabilities.npz`, its opinion of each proposal (eq 2) |
| 06-features | the feature extractor and `features.npz` (section 3.2) |
| 07-tags | `tags.npz`: what the classifier of regions thinks of each, the similarity graph and the tags (section 4) |
| 08-labels | `instances.json` and `images` for `rtseg train --data`, `rejected.json`, sheets of both |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.annotations import Proposals, load_annotations
from rtseg.lab.weak.keywords.attention import AttentionSettings
from rtseg.lab.weak.keywords.cues import (
    Step,
    build_attention,
    build_features,
    build_probabilities,
    load_arrays,
    save_arrays,
)
from rtseg.lab.weak.keywords.features import FeatureSettings
from rtseg.lab.weak.keywords.fitting import FitSettings
from rtseg.lab.weak.keywords.keywords import KeywordFile, Keywords, match_keywords, read_keywords
from rtseg.lab.weak.keywords.labels import write_labels
from rtseg.lab.weak.keywords.proposal_stage import PROPOSALS, build_proposals
from rtseg.lab.weak.keywords.regions import RegionSettings, region_probabilities
from rtseg.lab.weak.keywords.tag_inputs import TagInputs
from rtseg.lab.weak.proposals import FrameFile, ProposalSource
from rtseg.lab.weak.recording import store_frames, stored_frames
from rtseg.lab.weak.stages import Stage, listing_digest, run_stage
from rtseg.lab.weak.tags.assignment import assign_tags, count_kept
from rtseg.lab.weak.tags.graph import similarity_graph
from rtseg.media import open_frames
from rtseg.media.cameras import CameraSource
from rtseg.media.images import ImageSource

Progress = Callable[[str, int, int], None]
"""Told of a stage's name, the steps done, and the steps there are (0: not known)."""


@dataclass(frozen=True)
class LabelSettings:
    """How labels are made.

    Attributes:
        every: of a recording's frames, each n-th is used.
        min_area: proposals of fewer pixels are left out.
        attention: the attention module.
        features: the feature extractor.
        regions: the classifier of regions.
        k: edges that each instance retains (section 4.1).
        beta: weight of the probabilities (eq 7).
        retention: ratio r of the instances that get a tag (eq 8).
    """

    every: int = 1
    min_area: int = 64
    attention: AttentionSettings = field(default_factory=AttentionSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    k: int = 3
    beta: float = 30.0
    retention: float = 0.95


def small_settings() -> LabelSettings:
    """Settings for a few cores: small inputs, and only what is linear in the attention module is fitted."""
    return LabelSettings(
        attention=AttentionSettings((160, 320), FitSettings(epochs=1, backbone_rate=0.0)),
        features=FeatureSettings(side=96, fit=FitSettings(epochs=0)),
    )


@dataclass(frozen=True)
class LabelRun:
    """What a run made.

    Attributes:
        out: its folder.
        stages: in the order they ran.
        labels: folder for ``rtseg train --data``: `instances.json` (COCO) and `images`.
    """

    out: Path
    stages: Mapping[str, Stage]

    @property
    def labels(self) -> Path:
        return self.stages["labels"].folder


def label(
    source: str | Path,
    keywords: KeywordFile | Path,
    out: Path,
    proposals: ProposalSource,
    settings: LabelSettings | None = None,
    topic: str | None = None,
    progress: Progress | None = None,
) -> LabelRun:
    """Make labels for training from recorded frames and their keywords.

    A run that was interrupted goes on where it was: stages that are complete, and whose inputs are as they were, are
    taken from disk, and trainings go on from their last epoch.

    Args:
        source: bag, video, or folder of pictures.
        keywords: what is to be seen on which frame, or the file that says it.
        out: folder of the run.
        proposals: where class-agnostic instances come from.
        settings: of all stages.
        topic: image topic of a bag that has several.
        progress: told of every step.

    Raises:
        WeakSupervisionError: no usable frames, keywords that fit none of them, frames without any instance, or a
            retention ratio that cannot be met.
        MediaError: the recording cannot be read.
    """
    s = settings or LabelSettings()
    count_kept(1, s.retention)  # before hours of work, not after
    said = keywords if isinstance(keywords, KeywordFile) else read_keywords(keywords)
    frames = extract_frames(source, out, s, topic, progress)
    files = stored_frames(frames.folder)
    stages = {"frames": frames}

    def run(number: int, name: str, inputs: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> Stage:
        stages[name] = run_stage(out, number, name, inputs, build)
        return stages[name]

    found = run(
        2,
        "proposals",
        {"frames": frames.digest, "source": proposals.digest, "min_area": s.min_area},
        lambda folder: build_proposals(files, proposals, s.min_area, folder, _of(progress, "proposals")),
    )
    entries = {"classes": list(said.classes), "entries": {name: list(words) for name, words in said.entries.items()}}
    matched = run(
        3,
        "keywords",
        {"frames": frames.digest, "keywords": entries},
        lambda folder: _build_keywords(said, files, folder),
    )
    usable = usable_proposals(found.folder, matched.folder)
    if not len(usable):
        raise WeakSupervisionError(
            f"expected instances on the frames that have keywords, got none of {proposals.name}'s on them; "
            "give keywords for other frames or proposals of another source"
        )
    attention = run(
        4,
        "attention",
        {"frames": frames.digest, "keywords": matched.digest, "settings": asdict(s.attention)},
        lambda folder: build_attention(
            files, load_keywords(matched.folder), s.attention, folder, _of(progress, "attention")
        ),
    )
    probabilities = run(
        5,
        "probabilities",
        {
            "frames": frames.digest,
            "keywords": matched.digest,
            "attention": attention.digest,
            "proposals": found.digest,
        },
        lambda folder: build_probabilities(
            files, usable, said.classes, attention.folder, s.attention, folder, _of(progress, "probabilities")
        ),
    )
    features = run(
        6,
        "features",
        {
            "frames": frames.digest,
            "proposals": found.digest,
            "keywords": matched.digest,
            "settings": asdict(s.features),
        },
        lambda folder: build_features(
            files, usable, load_keywords(matched.folder), s.features, folder, _of(progress, "features")
        ),
    )
    tags = run(
        7,
        "tags",
        {
            "keywords": matched.digest,
            "probabilities": probabilities.digest,
            "features": features.digest,
            "regions": asdict(s.regions),
            "settings": [s.k, s.beta, s.retention],
        },
        lambda folder: _build_tags(usable, load_keywords(matched.folder), stages, s, folder),
    )
    run(
        8,
        "labels",
        {
            "frames": frames.digest,
            "keywords": matched.digest,
            "proposals": found.digest,
            "probabilities": probabilities.digest,
            "tags": tags.digest,
        },
        lambda folder: write_labels(
            load_tag_inputs(stages),
            load_arrays(tags.folder / "tags.npz")["tags"],
            load_keywords(matched.folder),
            folder,
        ),
    )
    return LabelRun(out, stages)


def extract_frames(
    source: str | Path, out: Path, settings: LabelSettings, topic: str | None = None, progress: Progress | None = None
) -> Stage:
    """The first stage alone: pictures, and a keyword file to fill in.

    Raises:
        WeakSupervisionError: no frame could be used.
        MediaError: the recording cannot be read.
    """
    with open_frames(source, topic) as frames:
        if isinstance(frames, CameraSource):
            raise WeakSupervisionError("expected a recording, got a live camera; record a bag or video first")
        paths = frames.paths if isinstance(frames, ImageSource) else [Path(source)]
        listing = {str(path): listing_digest(path) for path in paths}
        inputs = {"source": listing, "topic": topic, "every": settings.every}
        return run_stage(
            out,
            1,
            "frames",
            inputs,
            lambda folder: store_frames(frames, settings.every, folder, _of(progress, "frames")),
        )


def load_keywords(folder: Path) -> Keywords:
    """The product of the stage ``keywords``."""
    content = json.loads((folder / "keywords.json").read_text(encoding="utf-8"))
    classes = tuple(content["classes"])
    words = list(content["frames"].values())
    present = np.array([[name in (one or ()) for name in classes] for one in words], np.bool_)
    return Keywords(classes, present, np.array([one is not None for one in words]), tuple(content["unmatched"]))


def usable_proposals(proposals: Path, keywords: Path) -> Proposals:
    """The proposals that can have a tag: those of frames with a keyword."""
    found, _, _ = load_annotations(proposals / PROPOSALS)
    tagged = np.asarray(load_keywords(keywords).present.any(1))
    return found.select(np.flatnonzero(tagged[found.frames]))


def load_tag_inputs(stages: Mapping[str, Stage]) -> TagInputs:
    """Read from a run's stages what its tags are assigned from."""
    keywords = load_keywords(stages["keywords"].folder)
    usable = usable_proposals(stages["proposals"].folder, stages["keywords"].folder)
    graph = load_arrays(stages["tags"].folder / "tags.npz")
    return TagInputs(
        [file.path for file in stored_frames(stages["frames"].folder)],
        usable,
        keywords.classes,
        keywords.present[usable.frames],
        load_arrays(stages["probabilities"].folder / "probabilities.npz")["probabilities"],
        graph["probabilities"],
        graph["edges"],
        graph["weights"],
    )


def _build_keywords(said: KeywordFile, files: list[FrameFile], folder: Path) -> dict[str, Any]:
    matched = match_keywords(said, [file.name for file in files])
    if not matched.present.any():
        raise WeakSupervisionError("expected a keyword on at least one frame, got frames that show nothing; check them")
    rows = {
        file.name: [matched.classes[c] for c in np.flatnonzero(present)] if known else None
        for file, present, known in zip(files, matched.present, matched.known, strict=True)
    }
    content = {"classes": matched.classes, "frames": rows, "unmatched": matched.unmatched}
    (folder / "keywords.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    unseen = [name for i, name in enumerate(matched.classes) if not matched.present[:, i].any()]
    left_out = {
        "frames without an entry in the keyword file": int((~matched.known).sum()),
        "keyword entries that fit no frame": len(matched.unmatched),
        "classes that no frame shows": len(unseen),
    }
    return {
        "frames": dict(zip(matched.classes, matched.present.sum(0).tolist(), strict=True)),
        "left_out": {why: count for why, count in left_out.items() if count},
        "unmatched": list(matched.unmatched[:20]),
        "unseen": unseen,
    }


def _build_tags(
    usable: Proposals, keywords: Keywords, stages: Mapping[str, Stage], settings: LabelSettings, folder: Path
) -> dict[str, Any]:
    features = load_arrays(stages["features"].folder / "features.npz")["features"]
    attention = load_arrays(stages["probabilities"].folder / "probabilities.npz")["probabilities"]
    edges, weights = similarity_graph(features, settings.k)
    allowed = keywords.present[usable.frames]
    shares = keywords.present[keywords.known].mean(0)
    probabilities = region_probabilities(features, attention, allowed, shares, settings.regions)
    result = assign_tags(edges, weights, probabilities, allowed, settings.beta, settings.retention)
    save_arrays(folder / "tags.npz", probabilities=probabilities, edges=edges, weights=weights, tags=result.tags)
    counts = np.bincount(result.tags[result.tags >= 0], minlength=len(keywords.classes)).tolist()
    return {
        "instances": len(usable),
        "edges": len(edges),
        "objective": result.objective,
        "bound": result.bound,
        "gap": result.gap,
        "tags": dict(zip(keywords.classes, counts, strict=True)),
        "rejected": int((result.tags < 0).sum()),
    }


def _of(progress: Progress | None, name: str) -> Step:
    return (lambda done, total: progress(name, done, total)) if progress else (lambda done, total: None)
