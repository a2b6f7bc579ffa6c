"""From a recording to an instance model without a single label: the stages of ``rtseg weak exemplar``.

| stage | product |
|---|---|
| 01-frames | pictures and their list |
| 02-free-masks | a JSON file of free masks a picture, and `sheet.png` |
| 03-training-0 | FreeSOLO: a network trained on the free masks |
| 04-masks-0 | the masks it finds in the pictures, and `sheet.png` |
| 05-pool-1 | exemplars: GrabCut on random crops, refined by that network, and `sheet.png` |
| 06-training-1 | Exemplar-FreeSOLO: trained on with the exemplar loss, on the network's own masks |
| 07-masks-1 | as 04; pool, training and masks repeat for every further round |
| NN-engine | the model folder: card, ONNX networks |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import ConfigError, WeakSupervisionError
from rtseg.grouping.solo import SoloSettings
from rtseg.lab.data.selection import evenly
from rtseg.lab.training.checkpoints import CHECKPOINT
from rtseg.lab.training.configurations import load_config
from rtseg.lab.training.exemplar.config import ExemplarConfig
from rtseg.lab.training.exemplar.files import PictureMasks, mask_sheet, read_masks, write_masks
from rtseg.lab.training.train import train
from rtseg.lab.weak.exemplar.pool import PoolSettings, build_pool
from rtseg.lab.weak.exemplar.predict import MaskPredictor
from rtseg.lab.weak.free_mask_pool import MaskPool, choose_masks, pool_masks
from rtseg.lab.weak.free_masks import FreeMaskFeatures, FreeMaskSettings, mask_embeddings
from rtseg.lab.weak.keywords.label import LabelSettings, Progress, extract_frames
from rtseg.lab.weak.mask_kinds import KindSettings, MaskKinds
from rtseg.lab.weak.recording import stored_frames
from rtseg.lab.weak.stages import RECORD, Stage, run_stage
from rtseg.media.images import read_image

_SHEET = 12  # pictures on a sheet, evenly from all


@dataclass(frozen=True)
class ExemplarSettings:
    """How a model is made from nothing.

    Attributes:
        every: of a recording's frames, each n-th is used.
        config: training configuration of the model ``exemplar-solo``: a file or the name of a bundled one. Its input
            has the camera's proportions.
        rounds: of self-training with exemplars, after the first training on free masks.
        free: of the free masks; their width and height likewise.
        kinds: by which the free masks are ranked.
        pool: of the exemplars.
        decode: how the network's points become masks.
        confidence: least score of a mask that the next round learns from, and of one that the model gives.
        name: of the model.
        data: names and licences of the recording, for the model's card.
    """

    every: int = 1
    config: str = "exemplar-solo"
    rounds: int = 1
    free: FreeMaskSettings = field(default_factory=FreeMaskSettings)
    kinds: KindSettings = field(default_factory=KindSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    decode: SoloSettings = field(default_factory=SoloSettings)
    confidence: float = 0.15
    name: str = "exemplar-solo"
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExemplarRun:
    """What a run made.

    Attributes:
        out: its folder.
        stages: in the order they ran.
        model: the model folder, for ``rtseg run --model``.
    """

    out: Path
    stages: Mapping[str, Stage]
    model: Path


def train_without_labels(
    source: str | Path,
    out: Path,
    settings: ExemplarSettings | None = None,
    topic: str | None = None,
    progress: Progress | None = None,
) -> ExemplarRun:
    """Make an instance model of a recording's frames, without labels.

    An interrupted run goes on where it was: complete stages whose inputs are as they were are taken from disk, masks
    that are there are kept, and trainings go on from their last epoch.

    Args:
        source: bag, video, or folder of pictures.
        out: folder of the run.
        settings: of all stages.
        topic: image topic of a bag that has several.
        progress: told of every step.

    Raises:
        WeakSupervisionError: no usable frames, or a stage that finds nothing to go on with.
        ConfigError: the training configuration is not of an exemplar network, or does not validate.
        MediaError: the recording cannot be read.
    """
    s = settings or ExemplarSettings()
    config = load_config(s.config)
    if not isinstance(config, ExemplarConfig):
        raise ConfigError(f"expected a configuration of the model exemplar-solo, {s.config} is one of {config.model}")
    frames = extract_frames(source, out, LabelSettings(every=s.every), topic, progress)
    pictures = [file.path for file in stored_frames(frames.folder)]
    stages: dict[str, Stage] = {"frames": frames}

    def run(name: str, inputs: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> Stage:
        stages[name] = run_stage(out, len(stages) + 1, name, inputs, build)
        return stages[name]

    def step(name: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(name, done, total) if progress else None

    masks = run(
        "free-masks",
        {"frames": frames.digest, "settings": s.free.model_dump(), "kinds": s.kinds.model_dump(), "seed": config.seed},
        lambda folder: _build_free_masks(pictures, s, config.seed, folder, step),
    )
    training: Stage | None = None
    decode = {"decode": s.decode.model_dump(), "confidence": s.confidence}
    for number in range(s.rounds + 1):
        update: dict[str, Any] = {"name": f"{config.name}-{number}"}
        inputs = {"masks": masks.digest, "config": config.model_dump(mode="json"), "round": number}
        if training is not None:
            weights = training.folder / "model.safetensors"
            pool = run(
                f"pool-{number}",
                {"frames": frames.digest, "training": training.digest, "settings": s.pool.model_dump()},
                lambda folder, w=weights: _build_pool(pictures, w, s, config, folder, step("pool")),  # type: ignore[misc]
            )
            update |= {"start": str(weights), "pool": str(pool.folder)}
            inputs |= {"start": training.digest, "pool": pool.digest}
        chosen, data = config.model_copy(update=update), masks.folder
        training = run(
            f"training-{number}",
            inputs,
            lambda folder, c=chosen, d=data: _build_training(c, d, folder),  # type: ignore[misc]
        )
        found = training.folder / "model.safetensors"
        masks = run(
            f"masks-{number}",
            {"frames": frames.digest, "training": training.digest, **decode},
            lambda folder, w=found, n=number: _build_masks(pictures, w, s, folder, step(f"masks-{n}")),  # type: ignore[misc]
        )
    assert training is not None
    last = training.folder
    engine = run(
        "engine",
        {"training": training.digest, "frames": frames.digest, "name": s.name, "data": list(s.data)},
        lambda folder: _build_engine(last, frames.folder, s, folder),
    )
    return ExemplarRun(out, stages, engine.folder / s.name)


def _build_free_masks(
    pictures: Sequence[Path],
    settings: ExemplarSettings,
    seed: int,
    folder: Path,
    step: Callable[[str], Callable[[int, int], None]],
) -> dict[str, Any]:
    features = FreeMaskFeatures()

    def pool(picture: Path) -> MaskPool:
        return pool_masks(np.asarray(read_image(picture), np.uint8), features, settings.free)

    survey: dict[Path, int] = {}
    pools = []
    advance = step("mask-kinds")
    for i, picture in enumerate(looked_at := evenly(pictures, settings.kinds.pictures)):
        survey[picture] = i
        pools.append(pool(picture))
        advance(i + 1, len(looked_at))
    kinds = MaskKinds.of(pools, settings.kinds, seed)

    def find(picture: Path) -> PictureMasks:
        number = survey.get(picture, -1)
        found = pools[number] if number >= 0 else pool(picture)
        scores = kinds.score(found, number)
        chosen, masks = choose_masks(found, scores, settings.free)
        return PictureMasks(picture, found.size, masks, scores[chosen], found.embeddings[chosen])

    return _build_files(pictures, find, folder, step("free-masks"), "nothing stands out from its surroundings")


def _build_masks(
    pictures: Sequence[Path], weights: Path, settings: ExemplarSettings, folder: Path, step: Callable[[int, int], None]
) -> dict[str, Any]:
    decode, confidence = settings.decode, settings.confidence
    thresholds = {
        "score_threshold": min(decode.score_threshold, confidence),
        "keep_threshold": min(decode.keep_threshold, confidence),
    }
    predictor = MaskPredictor.load(weights, decode.model_copy(update=thresholds))
    features: FreeMaskFeatures | None = None

    def find(picture: Path) -> PictureMasks:
        nonlocal features
        features = features or FreeMaskFeatures()
        image = np.asarray(read_image(picture), np.uint8)
        found = predictor(image)
        kept = found.scores >= confidence
        masks, size = found.masks[kept], (found.masks.shape[1], found.masks.shape[2])
        # The embedding branch goes on learning (eq 10): what a mask shows is known whoever found it.
        embeddings = mask_embeddings(features(image, settings.free), masks)
        return PictureMasks(picture, size, masks, found.scores[kept], embeddings)

    why = f"no mask of the network scores {confidence} or more; train longer, or lower the confidence"
    return _build_files(pictures, find, folder, step, why)


def _build_files(
    pictures: Sequence[Path],
    find: Callable[[Path], PictureMasks],
    folder: Path,
    step: Callable[[int, int], None],
    why_none: str,
) -> dict[str, Any]:
    """A mask file for each picture, those that are there kept; pictures without a mask have a file with none."""
    total, empty, files = 0, 0, []
    for i, picture in enumerate(pictures):
        file = folder / f"{picture.stem}.json"
        if file.is_file():
            found = read_masks(file)
        else:
            found = find(picture)
            write_masks(file, found)
        total, empty = total + len(found), empty + (len(found) == 0)
        files.append(file)
        step(i + 1, len(pictures))
    if not total:
        raise WeakSupervisionError(f"expected masks in {counted(len(pictures), 'picture')}, got none: {why_none}")
    mask_sheet(evenly(files, _SHEET), folder / "sheet.png")
    return {"masks": total, "left_out": {"pictures without a mask": empty} if empty else {}}


def _build_training(config: ExemplarConfig, data: Path, folder: Path) -> dict[str, Any]:
    train(config, [data], folder, resume=(folder / CHECKPOINT).is_file())
    return {"epochs": config.epochs, "samples": config.epochs * config.samples_per_epoch}


def _build_pool(
    pictures: Sequence[Path],
    weights: Path,
    settings: ExemplarSettings,
    config: ExemplarConfig,
    folder: Path,
    step: Callable[[int, int], None],
) -> dict[str, Any]:
    predictor = MaskPredictor.load(weights, settings.decode)
    # A region fills as much of the network's input as an object of middling size does of a picture's.
    side = max(config.input.height // 2 // 32 * 32, 64)

    def refine(region: NDArray[np.uint8]) -> NDArray[np.bool_]:
        masks = predictor(region, (side, side)).masks.astype(np.uint8)
        size = (region.shape[1], region.shape[0])
        large = [cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.bool_) for mask in masks]
        return np.stack(large) if large else np.zeros((0, *region.shape[:2]), np.bool_)

    return build_pool(pictures, folder, settings.pool, refine, config.seed, step)


def _build_engine(run_folder: Path, frames: Path, settings: ExemplarSettings, folder: Path) -> dict[str, Any]:
    from rtseg.lab.deploy.package import package_model
    from rtseg.runtime.card import ModelCard

    command = f"rtseg weak exemplar run RECORDING --config {settings.config} --rounds {settings.rounds}"
    path = package_model(run_folder, folder / settings.name, [frames], command, settings.data or ("a recording",))
    card = ModelCard.load(path)
    parameters = settings.decode.model_dump(exclude={"min_pixels"})
    parameters["min_area"] = settings.decode.min_pixels * 16
    # What it is too unsure of to learn from it does not show either: most of those are patches of road.
    parameters["keep_threshold"] = max(settings.decode.keep_threshold, settings.confidence)
    grouping = card.grouping.model_copy(update={"parameters": {**parameters, **card.grouping.parameters}})
    card.model_copy(update={"grouping": grouping}).dump(path)
    return {"model": settings.name}


def stage_masks(folder: Path) -> list[Path]:
    """The mask files of a stage, in order.

    Raises:
        WeakSupervisionError: there are none.
    """
    files = sorted(path for path in folder.glob("*.json") if path.name != RECORD)
    if not files:
        raise WeakSupervisionError(f"expected JSON files of masks in {folder}, found none")
    return files
