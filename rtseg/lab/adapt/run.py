"""An adaptation from end to end: divide, label, train, package, judge; each step is kept, and goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rtseg.counted import counted
from rtseg.errors import ArgumentError, ConfigError, DatasetError
from rtseg.files import held, replacing, write_text
from rtseg.lab.adapt.clips import Clip, clips
from rtseg.lab.adapt.comparing import ClipComparison, compare_clips, compare_samples
from rtseg.lab.adapt.division import Recording, divide
from rtseg.lab.adapt.judgment import Comparison, Verdict, conclude
from rtseg.lab.adapt.page import write_page
from rtseg.lab.adapt.schedule import recipe_for, share_done
from rtseg.lab.adapt.stretches import SECONDS, Stretches
from rtseg.lab.data.tusimple import LABELS, read_labels
from rtseg.lab.deploy.model_folder import model_name
from rtseg.lab.deploy.package import package_model
from rtseg.lab.fleet.shards import PartSource
from rtseg.lab.scores.card import write_scores
from rtseg.lab.scores.lanes.samples import labelled_samples, rendered_samples
from rtseg.lab.studies.lane_confidence import FIRST_SEED, calibrate_confidence, write_calibration
from rtseg.lab.training.config import TrainingConfig
from rtseg.lab.training.hours import Deadline
from rtseg.lab.training.train import save_between, train
from rtseg.lab.weak.teacher import NothingTrustedError, TeacherSettings, label_lanes
from rtseg.loading import load
from rtseg.media import open_frames
from rtseg.runtime import find_model
from rtseg.runtime.card import ModelCard

Tell = Callable[[str], None]
Advance = Callable[[str, int, int], None]

WORK, REPORT, RESULT = "adapt", "report.html", "result.json"
_BEGUN, _HALFWAY = "begun.yaml", "halfway"
_LABELS_A_SECOND = 2.0  # nearer frames look alike
_MOST_LABELS = 1500
_LABELLING = 0.25  # of the minutes, at most
_LEAST_LABELLING = 60.0  # seconds, however few the minutes are
_LEAST_TRAINING = 0.25  # of the minutes
_RESERVED = 0.25  # of the minutes: packaging and judging
MOST_CLIPS = 150
_BETWEEN_CLIPS = 1.1  # seconds from one to the next at least
ROADS = 150
"""Rendered, to judge by, and as many to calibrate the confidence on."""


@dataclass(frozen=True)
class Settings:
    """What an adaptation is made of.

    Attributes:
        recordings: bags and videos of one camera.
        model: lane model to begin with.
        minutes: what all of it may take, about.
        labels: labelled frames of the camera, to judge by as well; nothing is learned from them.
        topic: image topic of bags with several cameras.
    """

    recordings: tuple[Path, ...]
    model: str = "lanes-lite"
    minutes: float = 60.0
    labels: Path | None = None
    topic: str | None = None


def adapt(settings: Settings, out: Path, tell: Tell, advance: Advance) -> Verdict:
    """Adapt a lane model to a camera, and keep the new one if it is better.

    Args:
        settings: of what.
        out: model folder to write: the card and the networks if the model is better, and the folder ``adapt`` with
            ``report.html``, the verdict as ``result.json``, labels, training and the model that was judged.
        tell: is told each step as it begins.
        advance: is told a step's name, what is done of it and of how much.

    Returns:
        The verdict.

    Raises:
        ConfigError: `out` is another adaptation's, or cannot be a model's name.
        MediaError, DatasetError: recordings or labels cannot be read, or say too little.
        ModelError: the model is none that can be trained here.
        NothingTrustedError: the model is sure of no line in any of the recordings.
    """
    begun = time.monotonic()
    if model_name(out) != out.name:  # of `.`, say
        out = Path(os.path.abspath(out))
    with held(out):
        work = out / WORK
        claim = _claim(work / _BEGUN, settings, out)
        if (work / RESULT).is_file():
            found = json.loads((work / RESULT).read_text(encoding="utf-8"))
            return Verdict(found["better"], found["reason"])
        recordings = divide(settings.recordings, settings.topic)
        if settings.labels is not None:
            labelled_samples(settings.labels)  # told before anything that takes long
        recipe = recipe_for(settings.model)
        # Only now: whoever mends what could not be read goes on with the same folder.
        write_text(work / _BEGUN, claim)
        sure = _label(settings, recordings, work / "labels", tell, advance)
        training, candidate = work / "training", work / out.name
        if not (candidate / "card.yaml").is_file():
            _train(settings, recipe, sure, training, begun, tell)
        judged, verdict = _made_and_judged(settings, recordings, sure, training, candidate, tell, advance)
        if verdict.gains and not verdict.better:
            tell(f"not yet: {verdict.reason}; half the way back to the model as it was")
            between, nearer = work / _HALFWAY / "training", work / _HALFWAY / out.name
            save_between(training, between, 0.5)
            judged_again, second = _made_and_judged(settings, recordings, sure, between, nearer, tell, advance)
            if second.better:
                candidate, judged, verdict = nearer, judged_again, second
            else:
                verdict = replace(verdict, reason=f"{verdict.reason}; half the way back, {second.reason}")
        _enter_scores(candidate, judged, out)
        write_page(work / REPORT, settings.model, out.name, judged.clips, judged.all, verdict)
        if verdict.better:
            for file in sorted(candidate.iterdir(), key=lambda path: path.name == "card.yaml"):
                with replacing(out / file.name) as partial_file:
                    shutil.copyfile(file, partial_file)
        content = {**asdict(verdict), "compared": [_figures(one) for one in judged.all]}
        write_text(work / RESULT, json.dumps(content, indent=1) + "\n")
        return verdict


@dataclass(frozen=True)
class _Judged:
    clips: ClipComparison
    roads: Comparison
    labelled: Comparison | None

    @property
    def all(self) -> list[Comparison]:
        return [self.clips.scores, *([self.labelled] if self.labelled else []), self.roads]


def _claim(record: Path, settings: Settings, out: Path) -> str:
    """What is begun here; made sure that it is the same where something was, and nothing else is there."""
    told = {name: value if value is None else str(value) for name, value in asdict(settings).items()}
    told["recordings"] = [os.path.abspath(path) for path in settings.recordings]  # type: ignore[assignment]
    told["weights"] = find_model(settings.model).card.model.sha256
    text = yaml.safe_dump(told, sort_keys=False)
    if record.is_file():
        if record.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"expected the recordings and options that {out} was begun with ({record}), or a new folder; "
                "give another --out"
            )
        return text
    if (out / "card.yaml").exists() or (out / WORK).exists():
        raise ConfigError(f"expected a new folder, got {out}, which holds something else; give another --out")
    return text


def _label(
    settings: Settings, recordings: Sequence[Recording], folder: Path, tell: Tell, advance: Advance
) -> list[Path]:
    """Label what is learned from of every recording; gives the folders of labels."""
    tell("labelling what the model is sure of")
    made = []
    total = sum(recording.seconds[0] for recording in recordings)
    seconds = max(_LEAST_LABELLING, _LABELLING * settings.minutes * 60)
    with closing(load(settings.model)) as teacher:
        for number, recording in enumerate(recordings):
            labels, share = folder / f"{number:03d}", recording.seconds[0] / total
            if not (labels / LABELS).is_file():
                shutil.rmtree(labels, ignore_errors=True)  # of a run that was interrupted
                most = max(1, round(share * _MOST_LABELS / (_LABELS_A_SECOND * SECONDS)))
                told = partial(advance, f"recording {number + 1}")
                with open_frames(recording.path, settings.topic) as source:
                    part = Stretches(source, recording.learned, share * seconds, most, told)
                    how = TeacherSettings(every=max(1, round((source.fps or 30.0) / _LABELS_A_SECOND)))
                    try:
                        label_lanes(part, teacher, labels, how)
                    except NothingTrustedError as error:
                        tell(f"left out: {error}")
                        continue
            made.append(labels)
    if not made:
        raise DatasetError(
            f"expected lines that {settings.model} is sure of in the recordings, found none; "
            "label frames by hand and train with rtseg train lanes-lite-finetune"
        )
    return made


def _train(
    settings: Settings, recipe: TrainingConfig, labels: Sequence[Path], run: Path, begun: float, tell: Tell
) -> None:
    """Train for what is left of the minutes, but a quarter of them at least; of a training that goes on, its rest."""
    finished = run.parent / "trained.txt"
    if finished.is_file():
        return
    done, whole = share_done(run), settings.minutes * 60
    left = max(_LEAST_TRAINING * whole, whole * (1 - _RESERVED) - (time.monotonic() - begun))
    pictures = sum(len(read_labels(folder)) for folder in labels)
    tell(f"training on {counted(pictures, 'labelled frame')} and rendered ones")
    train(recipe, list(labels), run, resume=done > 0, deadline=Deadline.of((1 - done) * left))
    write_text(finished, f"{settings.minutes:g} minutes\n")


def _made_and_judged(
    settings: Settings,
    recordings: Sequence[Recording],
    labels: Sequence[Path],
    training: Path,
    candidate: Path,
    tell: Tell,
    advance: Advance,
) -> tuple[_Judged, Verdict]:
    """Make a model of a training, where it is not there yet, and hold it against the model as it was."""
    if not (candidate / "card.yaml").is_file():
        tell("making networks and card")
        _package(settings, labels, training, candidate)
    tell("judging: as it was against as it is")
    judged = _judge(settings, recordings, candidate, advance)
    return judged, conclude(judged.clips.scores, judged.roads, judged.labelled)


def _package(settings: Settings, labels: Sequence[Path], training: Path, candidate: Path) -> None:
    """Networks and card, with the decoder of the model as it was, and a confidence calibrated anew."""
    start = find_model(settings.model).card
    names = ", ".join(path.name for path in settings.recordings)
    pictures = sum(len(read_labels(folder)) for folder in labels)
    making = candidate.parent / f"{candidate.name}-making" / candidate.name
    shutil.rmtree(making.parent, ignore_errors=True)
    card = package_model(
        training,
        making,
        calibration=[folder / "images" for folder in labels],
        command=f"rtseg adapt {names} --model {start.name} --minutes {settings.minutes:g}",
        data=(*start.training.data, f"{counted(pictures, 'frame')} of {names}, labelled by {start.name}"),
    )
    made = ModelCard.load(card)
    notes = f"Adapted from {start.name} ({start.model.sha256[:12]}), blended with it. {made.training.notes}"
    made = made.model_copy(
        update={
            "licence": start.licence,
            "grouping": start.grouping,
            "training": made.training.model_copy(update={"notes": notes}),
        }
    )
    made.dump(card)
    with closing(load(str(making.resolve()))) as pipeline:
        try:
            calibration = calibrate_confidence(pipeline, [rendered_samples(ROADS, first_seed=FIRST_SEED)])
            write_calibration(making.resolve(), calibration)
        except ArgumentError:  # too few roads to tell: the confidence stays that of the model as it was
            pass
    os.replace(making, candidate)
    making.parent.rmdir()


def _judge(settings: Settings, recordings: Sequence[Recording], candidate: Path, advance: Advance) -> _Judged:
    seconds = sum(recording.seconds[1] for recording in recordings)
    apart = max(_BETWEEN_CLIPS, seconds / MOST_CLIPS)
    with closing(load(settings.model)) as before, closing(load(str(candidate.resolve()))) as after:
        held_back = _held_back(recordings, settings.topic, apart)
        kept = _advancing(held_back, "frames kept back", round(seconds / apart), advance)
        own = compare_clips(before, after, kept, "frames kept back")
        rendered = _advancing(rendered_samples(ROADS), "rendered roads", ROADS, advance)
        old = compare_samples(before, after, rendered, "rendered roads")
        labelled = None
        if settings.labels is not None:
            samples, count = labelled_samples(settings.labels)
            shown = _advancing(samples, "labelled frames", count, advance)
            labelled = compare_samples(before, after, shown, "labelled frames")
    return _Judged(own, old, labelled)


def _held_back(recordings: Sequence[Recording], topic: str | None, apart: float) -> Iterator[Clip]:
    """Clips, evenly from all that is kept back, `apart` seconds from one to the next."""
    for recording in recordings:
        if recording.held_back is not None:
            with open_frames(recording.path, topic) as source:
                yield from clips(PartSource(source, recording.held_back), recording.path.name, apart)


T = TypeVar("T")


def _advancing(items: Iterable[T], name: str, count: int, advance: Advance) -> Iterator[T]:
    for done, item in enumerate(items, 1):
        yield item
        advance(name, done, max(count, done))


def _figures(one: Comparison) -> dict[str, Any]:
    before, after = one.totals
    return {
        "on": one.name,
        "pictures": len(one.before),
        "lines": one.lines,
        "f1": [round(before.f1, 4), round(after.f1, 4)],
        "precision": [round(before.precision, 4), round(after.precision, 4)],
        "recall": [round(before.recall, 4), round(after.recall, 4)],
        "least_gain": round(one.least_gain, 4),
    }


def _enter_scores(candidate: Path, judged: _Judged, out: Path) -> None:
    """Into the card: what the judged network scored."""
    for one in judged.all:
        after = one.totals[1]
        metrics = {"culane F1": after.f1, "precision": after.precision, "recall": after.recall}
        write_scores(
            candidate.resolve(),
            f"{one.name}, {counted(len(one.after), 'picture')}",
            metrics,
            f"rtseg adapt --out {out.name}",
        )
