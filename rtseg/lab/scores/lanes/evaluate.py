"""Score a lane pipeline on labelled pictures: TuSimple's accuracy, FP and FN, CULane's F1, by condition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.counted import counted
from rtseg.errors import ConfigError, DatasetError
from rtseg.files import check_outputs, write_text
from rtseg.frame import Frame
from rtseg.lab.report.gallery import Gallery
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.lab.scores.lanes import culane, tusimple
from rtseg.lab.scores.lanes.culane import CulaneScore
from rtseg.lab.scores.lanes.reliability import Reliability, plot_reliability
from rtseg.lab.scores.lanes.samples import TUSIMPLE_WIDTH, LaneSample, labelled_samples, rendered_samples
from rtseg.lab.scores.lanes.tusimple import TusimpleScore
from rtseg.media.overlay import draw_lanes
from rtseg.progress import Bars
from rtseg.results import Lanes
from rtseg.runtime import ModelCard
from rtseg.runtime.latency import LatencyLog

REPORT, SCORES, PREDICTIONS = "report.html", "scores.json", "predictions.json"


class LanePipeline(Protocol):
    """What is scored: :class:`rtseg.runtime.Pipeline` of a lane model, or what acts like it, perhaps without a card."""

    @property
    def card(self) -> ModelCard | None: ...

    @property
    def backend(self) -> Mapping[str, str]: ...

    def __call__(self, frame: Frame, /) -> Any: ...

    def reset(self) -> None: ...


@dataclass(frozen=True)
class ImageScore:
    """Scores of one picture.

    Attributes:
        lanes: (n, m) x of the lanes predicted in pixels, NaN where absent; those that reach none of the rows left out.
        confidence: (k,) of every lane predicted.
        right: (k,) bool, which of those match a true one (CULane's rule).
    """

    name: str
    conditions: dict[str, str]
    tusimple: TusimpleScore
    culane: CulaneScore
    lanes: NDArray[np.float64]
    h_samples: NDArray[np.float64]
    confidence: NDArray[np.float32]
    right: NDArray[np.bool_]

    @property
    def marked(self) -> bool:
        """Whether the road has lines."""
        return self.culane.true_positives + self.culane.false_negatives > 0


@dataclass(frozen=True)
class LaneEvaluation:
    """Scores of a set.

    Attributes:
        images: scores in the order of the set.
        label: names the set, on a model card too.
        worst: pictures, worst first.
        best: pictures, best first.
    """

    images: tuple[ImageScore, ...]
    label: str
    worst: tuple[Picture, ...] = ()
    best: tuple[Picture, ...] = ()

    @property
    def tusimple(self) -> TusimpleScore:
        """Mean over the pictures with lines; without a line the benchmark's accuracy is 0 whatever is found."""
        marked = [image for image in self.images if image.marked] or self.images
        return tusimple.mean_score([image.tusimple for image in marked])

    @property
    def invented(self) -> float:
        """Share of the pictures without lines in which lanes were found, NaN where all have lines."""
        found = [len(image.confidence) > 0 for image in self.images if not image.marked]
        return float(np.mean(found)) if found else float("nan")

    @property
    def culane(self) -> CulaneScore:
        """Sum over the pictures."""
        return sum((image.culane for image in self.images), CulaneScore())

    @property
    def reliability(self) -> Reliability:
        """How often lanes are right that claim a certain confidence."""
        return Reliability(
            np.concatenate([np.zeros(0, np.float32), *(image.confidence for image in self.images)]),
            np.concatenate([np.zeros(0, np.bool_), *(image.right for image in self.images)]),
            self.culane.true_positives + self.culane.false_negatives,
        )

    def metrics(self) -> dict[str, float]:
        """What a model card says, by metric."""
        metrics = {
            "accuracy": self.tusimple.accuracy,
            "false positive rate": self.tusimple.false_positive,
            "false negative rate": self.tusimple.false_negative,
            "culane F1": self.culane.f1,
        }
        if np.isfinite(self.invented):
            metrics["frames without lines on which lanes were found"] = self.invented
        return metrics

    def where(self, condition: str, value: str, label: str, holds: bool = True) -> LaneEvaluation:
        """Scores of the pictures of which a condition holds, or does not."""
        kept = tuple(image for image in self.images if (image.conditions.get(condition) == value) == holds)
        return LaneEvaluation(kept, label)

    def by_condition(self) -> dict[str, dict[str, LaneEvaluation]]:
        """Condition -> value -> scores of the pictures that have it."""
        groups: dict[str, dict[str, list[ImageScore]]] = {}
        for image in self.images:
            for condition, value in image.conditions.items():
                groups.setdefault(condition, {}).setdefault(value, []).append(image)
        return {
            condition: {value: LaneEvaluation(tuple(images), value) for value, images in sorted(values.items())}
            for condition, values in groups.items()
            if len(values) > 1
        }

    def table(self) -> Table:
        """The scores as a table for the terminal."""
        table = Table(*_HEADER[:_BRIEF], title=f"{self.label}: {counted(len(self.images), 'frame')}")
        table.add_row("all", *_cells(self)[: _BRIEF - 1])
        for condition, values in self.by_condition().items():
            table.add_section()
            for value, scores in values.items():
                table.add_row(f"{condition}: {value}", *_cells(scores)[: _BRIEF - 1])
        return table


_HEADER = ("", "frames", "accuracy %", "FP %", "FN %", "eq 9 %", "F1 %", "precision %", "recall %")
_BRIEF = 7  # columns that fit a terminal


def _cells(scores: LaneEvaluation) -> list[str]:
    a, b = scores.tusimple, scores.culane
    shares = (a.accuracy, a.false_positive, a.false_negative, a.recall, b.f1, b.precision, b.recall)
    return [str(len(scores.images)), *(f"{100 * share:.2f}" for share in shares)]


def evaluate_lanes(
    pipeline: LanePipeline,
    dataset: str = "labelled",
    data: str | Path | None = None,
    frames: int = 200,
    out: str | Path | None = None,
    progress: bool = True,
    pictures: Path | None = None,
) -> LaneEvaluation:
    """Score `pipeline` on a data set.

    Every picture is scored by itself: tracked ids are reset before it. The benchmark's limit of 200 ms a picture is not
    applied, since it would make the score depend on the machine; times are in the report.

    Args:
        pipeline: a loaded lane model.
        dataset: ``labelled``, or ``rendered``.
        data: the labelled pictures, of TuSimple's or CULane's kind; see :func:`labelled_samples`.
        frames: pictures to render.
        out: folder for ``report.html``, ``scores.json`` and ``predictions.json`` (TuSimple's submission format); None
            writes nothing.
        progress: show a bar.
        pictures: folder of the pictures, where they lie outside of the labels' own.

    Raises:
        ConfigError: unknown data set, or no folder for it.
        MediaError: `out` is the folder of the labels, or cannot be written.
        DatasetError: the labels do not parse, or a picture is missing.
    """
    if dataset == "rendered":
        samples, count = rendered_samples(frames), frames
    elif dataset == "labelled" and data is not None:
        samples, count = labelled_samples(data, pictures)
    else:
        raise ConfigError(
            f"expected dataset rendered, or labelled with its folder (--data), got {dataset!r} and {data}"
        )
    if out is not None:
        check_outputs(Path(out), [REPORT, SCORES, PREDICTIONS], [] if data is None else [Path(data)])
    latency, images = LatencyLog(), []
    gallery, best = Gallery(spread=9, worst=9, apart=1), Gallery(spread=1, worst=9, apart=1)
    shown = Bars.over(samples, dataset, total=count, disable=not progress)
    for index, sample in enumerate(shown):
        pipeline.reset()
        lanes = pipeline(Frame(sample.image))
        if not isinstance(lanes, Lanes):
            raise ConfigError(f"expected a lane model, got one that gives {type(lanes).__name__}; choose another")
        score = score_lanes(sample, lanes)
        latency.record(lanes.times)
        images.append(score)
        one = score.tusimple
        caption = (
            f"{sample.name}: accuracy {one.accuracy:.3f}, FP {one.false_positive:.2f}, FN {one.false_negative:.2f}"
        )
        badness = (1 - one.accuracy) + one.false_positive + one.false_negative
        picture = _draw(sample, lanes)
        gallery.add(index, caption, picture, badness)
        best.add(
            index, caption, picture, len(sample.truth) / (1.0 + 20.0 * badness)
        )  # of good ones those with most lines
    if not images:
        raise DatasetError(f"expected labelled pictures in {data}, got none; check the folder")
    label = f"rendered, {counted(frames, 'frame')}" if data is None else Path(data).resolve().name
    evaluation = LaneEvaluation(tuple(images), label, tuple(gallery.worst), tuple(best.worst))
    if out is not None:
        _write(Path(out), evaluation, pipeline, latency, gallery)
    return evaluation


def score_lanes(sample: LaneSample, lanes: Lanes) -> ImageScore:
    """Score what was found in one picture. Thresholds in pixels are those of 1280 px wide pictures, scaled."""
    height, width = sample.image.shape[:2]
    scale = TUSIMPLE_WIDTH / width
    # A line that reaches none of the rows is not there for this benchmark.
    predicted, truth = (x[np.isfinite(x).any(axis=1)] for x in (lanes.sample(sample.h_samples), sample.lanes))
    matches = culane.match_lanes(lanes.polylines, sample.truth, (height, width))
    return ImageScore(
        name=sample.name,
        conditions=sample.conditions,
        tusimple=tusimple.score_image(predicted * scale, truth * scale, sample.h_samples * scale),
        culane=culane.count_matches(matches, lanes.polylines, sample.truth),
        lanes=predicted,
        h_samples=sample.h_samples,
        confidence=lanes.confidence,
        right=matches >= 0,
    )


def _draw(sample: LaneSample, lanes: Lanes) -> NDArray[np.uint8]:
    picture = draw_lanes(sample.image, lanes, caption="white: truth")
    for line in sample.truth:
        points = np.rint(line * 8).astype(np.int32)[:, None]
        cv2.polylines(picture, [points], False, (255, 255, 255), max(1, len(picture) // 400), cv2.LINE_AA, 3)
    return picture


def _write(
    out: Path, evaluation: LaneEvaluation, pipeline: LanePipeline, latency: LatencyLog, gallery: Gallery
) -> None:
    a, b = evaluation.tusimple, evaluation.culane
    card = pipeline.card
    facts = [("data set", f"{evaluation.label}, {counted(len(evaluation.images), 'frame')}")]
    facts += [("model", card.name)] if card is not None else []
    facts += [(name, str(value)) for name, value in pipeline.backend.items()]
    tables = [
        (f"By {condition}", _HEADER, [[value, *_cells(scores)] for value, scores in values.items()])
        for condition, values in evaluation.by_condition().items()
    ]
    report = ReportData(
        title=f"Lane scores{f' of {card.name}' if card is not None else ''}",
        subtitle=f"{counted(len(evaluation.images), 'frame')}: {evaluation.label}",
        figures=[
            ("TuSimple accuracy", f"{100 * a.accuracy:.2f} %"),
            ("false positives", f"{100 * a.false_positive:.2f} %"),
            ("false negatives", f"{100 * a.false_negative:.2f} %"),
            ("recall, equation 9", f"{100 * a.recall:.2f} %"),
            ("CULane F1", f"{100 * b.f1:.2f} %"),
        ],
        facts=[*facts, *machine_facts()],
        latency=latency,
        tables=tables,
        gallery=gallery.spread,
        worst=evaluation.worst,
        worst_title="Worst frames",
        best=evaluation.best,
        plots=[("Reliability of the confidence", plot_reliability({"all frames": evaluation.reliability}))],
    )
    write_report(out / REPORT, report)
    scores = {
        "dataset": evaluation.label,
        "frames": len(evaluation.images),
        "tusimple": asdict(a),
        "confidence_error": evaluation.reliability.expected_error,
        "culane": {"f1": b.f1, "precision": b.precision, "recall": b.recall, **asdict(b)},
        "by_condition": {
            condition: {
                value: {"frames": len(s.images), "tusimple": asdict(s.tusimple), "culane_f1": s.culane.f1}
                for value, s in values.items()
            }
            for condition, values in evaluation.by_condition().items()
        },
    }
    lines = [
        {
            "raw_file": image.name,
            "lanes": np.where(np.isfinite(image.lanes), np.round(image.lanes, 1), tusimple.ABSENT).tolist(),
            "h_samples": image.h_samples.tolist(),
        }
        for image in evaluation.images
    ]
    write_text(out / SCORES, json.dumps(scores, indent=1) + "\n")
    write_text(out / PREDICTIONS, "".join(json.dumps(line) + "\n" for line in lines))
