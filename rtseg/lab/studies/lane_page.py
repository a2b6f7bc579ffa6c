"""docs/lanes.md: what the lane models score, where, and on which frames they fail.

    rtseg lab lane-page --model lanes-lite --data ../shared/data/lanes/tusimple_val \
        --videos ../shared/data/videos
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rtseg.frame import Frame
from rtseg.lab.report.pages import markdown_table, save_pictures, save_plot, write_page
from rtseg.lab.report.plots import plot_bars
from rtseg.lab.scores.lanes.evaluate import LaneEvaluation, evaluate_lanes
from rtseg.lab.scores.lanes.reliability import plot_precision_recall, plot_reliability
from rtseg.lab.scores.lanes.samples import labelled_samples, rendered_samples
from rtseg.lab.scores.lanes.temporal import TemporalLog, TemporalScore
from rtseg.lab.studies.lane_budget import drive_budget, lane_budget, losses
from rtseg.lab.studies.lane_confidence import FIRST_SEED as CALIBRATION_SEED
from rtseg.lab.studies.lane_drives import FIRST_SEED, DriveScore, added_up, rendered_drives, score_drives
from rtseg.lanes.interpreter import LaneInterpreter, lane_settings
from rtseg.loading import load
from rtseg.media import open_frames
from rtseg.printing import remarks_console
from rtseg.results import Lanes
from rtseg.runtime import ModelCard, Pipeline
from rtseg.runtime.interpreter import interpret

_TILES = 6
_OURS = "decoding true maps"


def write_lane_page(
    out: Path,
    models: Sequence[str],
    data: Sequence[Path] = (),
    videos: Path | None = None,
    rendered: int = 200,
    drives: int = 2,
    seconds: float = 6.0,
    video_frames: int | None = None,
) -> Path:
    """Score models on everything and write the page with its figures.

    Args:
        out: folder of the page; figures go to ``figures`` in it.
        models: bundled models or folders.
        data: TuSimple or CULane folders; only numbers of them come onto the page.
        videos: folder of videos without truth.
        rendered: frames to render.
        drives: roads that are driven, in each condition.
        seconds: of each drive.
        video_frames: frames of each video at most.

    Returns:
        The page's path.
    """
    (out / "figures").mkdir(parents=True, exist_ok=True)
    parts = ["# Lane models: what they score", _INTRODUCTION]
    for name in models:
        pipeline = load(name)
        parts += _model_part(pipeline, out, data, videos, rendered, drives, seconds, video_frames)
        pipeline.close()
    return write_page(out / "lanes.md", "rtseg lab lane-page", parts)


_INTRODUCTION = (
    "Frames are scored one by one, with TuSimple's and CULane's rules: accuracy is the share of points of the true "
    "lines that are right; a lane is right for F1 if, drawn 30 px wide on a 1640 px wide picture, it overlaps its line "
    "by more than half. Rendered frames are of seeds that no training draws; every weather, worn paint, cities and "
    "mountain roads are among them."
)
_CONFIDENCE = (
    "Lanes in ten bins of confidence, and the share of each that is right; on the dotted line the two agree. The error "
    "is the mean distance from it, weighted by lanes; what it would be by chance (5th to 95th percentile), were the "
    "confidence honest, says what that means of so few. The Brier score is the mean square of what the confidence "
    "lacks of 1 for right lines and of 0 for wrong ones. The calibration in the card "
    f"was fitted on other frames: rendered seeds from {CALIBRATION_SEED} on; of lanes-r18 those of tusimple_train, by "
    "`rtseg lab lane-confidence --model lanes-r18 --data ../shared/data/lanes/tusimple_train`; of lanes-lite what it "
    "learned from of TuSimple, CULane and roads without lines, by "
    "`rtseg lab lane-confidence --model lanes-lite --sets lanes-lite --data ../shared/data/lanes`, "
    "which does the same for any other lane model. Lines that claim less than {} are not shown in a single picture."
)
_BUDGET = (
    "Truth in the place of one stage after the other. First the network's maps, read ever better: the fit gives the "
    "true x in the rows of a line; fragments are joined that lie on one true line; pixels of the network's lines get "
    "the color of the true line they lie on; what matches no line is left out. What is then missing, the network did "
    "not see. Then our stages on true input: maps of a network that knows the truth, at its resolution; the same "
    "strokes painted at the picture's size."
)
_BUDGET_OVER_TIME = (
    "The same over time, on the drives below: with tracking and, each frame taken as the first, without; carried is "
    "the share of lanes that were not found in their frame but carried on from those before."
)
_DRIVES = (
    "The same roads in six conditions, ten frames a second, against their truth. A switch is a line that goes on under "
    "another id while in sight; a flicker is a frame in which a line is lost that was found before and within five "
    "frames after; jitter is how far a lane moves against its line from one frame to the next; a wrong lane matches no "
    "line. Carried lanes have no pixel in the mask; they end after a quarter of a second."
)
_ROADS = (
    "The same by road, named by its seed and its lines from left to right. Dots are Botts': every 14.6 m four studs of "
    "twelve centimetres, of which a picture of this size shows the nearest ones."
)
_VIDEOS = (
    "Real highways without truth, so what is counted is steadiness: switches where a line goes on at its place under "
    "another id, flicker where one is missing that was there before and after, jitter against the middle of its places "
    "in the frames before and after."
)


def _model_part(
    pipeline: Pipeline,
    out: Path,
    data: Sequence[Path],
    videos: Path | None,
    rendered: int,
    drives: int,
    seconds: float,
    video_frames: int | None,
) -> list[str]:
    name = pipeline.card.name
    sets = [evaluate_lanes(pipeline, "labelled", folder) for folder in data]
    painted = evaluate_lanes(pipeline, "rendered", frames=rendered)
    marked = painted.where("lines", "0", "rendered, with lines", holds=False)
    bare = painted.where("lines", "0", "rendered, without lines")
    every = [*sets, marked]
    parts = [f"## {name}", pipeline.card.summary + ".", "### Frames", frames_table(every)]
    if bare.images:
        wrong = sum(image.culane.false_positives > 0 for image in bare.images)
        parts.append(
            f"Of {len(bare.images)} more rendered frames of streets without a line, where there is nothing to score, "
            f"{wrong} have lanes made up."
        )
    conditions = marked.by_condition()
    figures = {
        "reliability": plot_reliability({one.label: one.reliability for one in every}),
        "precision": plot_precision_recall({one.label: one.reliability for one in every}),
        "conditions": _conditions_plot(conditions),
    }
    for kind, svg in figures.items():
        save_plot(out / "figures" / f"{name}_{kind}.svg", svg)
    parts += ["### Conditions", _conditions_table(conditions)]
    parts.append(f"![F1 by condition](figures/{name}_conditions.svg)")
    parts += [
        "### Does the confidence mean anything?",
        _CONFIDENCE.format(0.5 * lane_settings(pipeline.card)[1].show),
        _reliability_table(pipeline, data, rendered),
        f"![Share of right lanes against confidence](figures/{name}_reliability.svg)",
        f"![Precision against recall](figures/{name}_precision.svg)",
    ]
    seeds = range(FIRST_SEED, FIRST_SEED + drives)
    parts += ["### Which stage loses what", _BUDGET]
    for label, samples in [
        *((folder.resolve().name, labelled_samples(folder)[0]) for folder in data),
        (painted.label, rendered_samples(rendered)),
    ]:
        _tell(f"budget of {label}")
        budget = lane_budget(pipeline, samples)
        costs = losses(budget)
        parts.append(frames_table(list(budget.values()), label))
        parts.append(
            f"In points of F1: {', '.join(f'{cost:.1f} {stage}' for stage, cost in costs.items() if stage != _OURS)}. "
            f"Given true maps the decoder itself loses {costs[_OURS]:.1f}: the rest of what is lost where lines are "
            "put comes from the network."
        )
    parts += [_BUDGET_OVER_TIME, _drives_table(drive_budget(pipeline, rendered_drives(seeds, seconds)), "maps", False)]
    driven = score_drives(pipeline, rendered_drives(seeds, seconds), _tell)
    parts += ["### Drives with truth", _DRIVES, _drives_table(added_up(driven, 0))]
    parts += [_ROADS, _drives_table(added_up(driven, 1), "road", together=False)]
    if videos is not None:
        parts += ["### Videos without truth", _VIDEOS, _videos_table(pipeline, videos, video_frames)]
    for kind, pictures in (("worst", painted.worst), ("best", painted.best)):
        if pictures:
            path = out / "figures" / f"{name}_{kind}.jpg"
            save_pictures(path, pictures[:_TILES])
            parts += [f"### The {kind} rendered frames", f"![White: truth](figures/{path.name})"]
            parts.append("\n".join(f"{i}. {picture.caption}" for i, picture in enumerate(pictures[:_TILES], 1)))
    return parts


def _percent(*values: float) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]


def _reliability_table(pipeline: Pipeline, data: Sequence[Path], rendered: int) -> str:
    """What all lines claim, also those too uncertain to be shown, without the card's calibration and with it."""
    card = pipeline.card
    decoder = {**card.grouping.parameters.get("decoder", {}), "min_confidence": 0.0}
    found: list[list[LaneEvaluation]] = []
    for calibration in (None, decoder.get("calibration")):
        parameters = {"decoder": {**decoder, "calibration": calibration}, "tracker": {"show": 0.0}}
        grouping = card.grouping.model_copy(update={"parameters": parameters})
        reading = _Reinterpreted(pipeline, card.model_copy(update={"grouping": grouping}))
        sets = [evaluate_lanes(reading, "labelled", folder, progress=False) for folder in data]
        found.append([*sets, evaluate_lanes(reading, "rendered", frames=rendered, progress=False)])
    rows = []
    for before, after in zip(*found, strict=True):
        one = before.reliability
        rows.append(
            [before.label, str(one.right.size), *_percent(float(np.mean(one.right)) if one.right.size else 0.0)]
        )
        for each in (before.reliability, after.reliability):
            rows[-1] += [f"{each.expected_error:.3f}", f"{each.brier:.3f}"]
        rows[-1].append("{:.3f} to {:.3f}".format(*after.reliability.honest_error()))
    header = ("set", "lines", "right %", "error before", "Brier before", "error calibrated", "Brier calibrated",
              "error by chance")  # fmt: skip
    return markdown_table(header, rows)


class _Reinterpreted:
    """A pipeline whose maps are read as another card says."""

    def __init__(self, pipeline: Pipeline, card: ModelCard) -> None:
        self.card, self.backend = card, pipeline.backend
        self._pipeline, self._interpreter = pipeline, LaneInterpreter(card)

    def __call__(self, frame: Frame) -> Lanes:
        maps, clock = self._pipeline.head_maps(frame)
        return interpret(self._interpreter, maps, frame, clock)

    def reset(self) -> None:
        self._interpreter.reset()


def frames_table(sets: Sequence[LaneEvaluation], title: str = "set") -> str:
    """Scores of sets of frames as a Markdown table, one set a row."""
    header = (title, "frames", "accuracy %", "FP %", "FN %", "F1 %", "precision %", "recall %")
    return markdown_table(header, [[one.label, str(len(one.images)), *_scores(one)] for one in sets])


def _scores(one: LaneEvaluation) -> list[str]:
    a, b = one.tusimple, one.culane
    return _percent(a.accuracy, a.false_positive, a.false_negative, b.f1, b.precision, b.recall)


def _conditions_table(conditions: dict[str, dict[str, LaneEvaluation]]) -> str:
    rows = [
        [f"{condition}: {value}", str(len(one.images)), *_scores(one)]
        for condition, values in conditions.items()
        for value, one in values.items()
    ]
    return markdown_table(("rendered", "frames", "accuracy %", "FP %", "FN %", "F1 %", "precision %", "recall %"), rows)


def _conditions_plot(conditions: dict[str, dict[str, LaneEvaluation]]) -> str:
    shown = [
        (value, one.culane)
        for condition in ("lighting", "weather", "curvature")
        for value, one in conditions.get(condition, {}).items()
    ]
    bars = {
        "precision": [100 * score.precision for _, score in shown],
        "recall": [100 * score.recall for _, score in shown],
    }
    return plot_bars(bars, "", "per cent", [value for value, _ in shown])


def _drives_table(scores: dict[str, DriveScore], title: str = "condition", together: bool = True) -> str:
    header = (title, "frames", "recall %", "wrong lanes a frame", "frames with one %", "switches", "flicker %",
              "jitter px", "carried %")  # fmt: skip
    rows, every = [], [("all", sum(scores.values(), start=DriveScore()))] if together else []
    for name, one in [*scores.items(), *every]:
        shares = _percent(one.wrong_frames / max(one.frames, 1), one.flickers / max(one.frames, 1))
        wrong = f"{one.wrong / max(one.frames, 1):.2f}"
        recall = f"{100 * one.recall:.1f}"
        carried = f"{100 * one.carried / max(one.found + one.wrong, 1):.1f}"
        rows.append([name, str(one.frames), recall, wrong, shares[0], str(one.switches), shares[1],
                     f"{one.mean_jitter:.2f}", carried])  # fmt: skip
    return markdown_table(header, rows)


def _videos_table(pipeline: Pipeline, folder: Path, most: int | None) -> str:
    rows = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in (".mp4", ".avi", ".mkv", ".mov")):
        _tell(path.name)
        one = video_score(pipeline, path, most)
        lanes = f"{one.lanes / max(one.frames, 1):.2f}"
        carried = f"{100 * one.carried / max(one.lanes, 1):.1f}"
        rows.append([path.stem, str(one.frames), lanes, str(one.id_switches), *_percent(one.flicker),
                     f"{one.jitter:.2f}", carried])  # fmt: skip
    return markdown_table(("video", "frames", "lanes a frame", "switches", "flicker %", "jitter px", "carried %"), rows)


def video_score(pipeline: Pipeline, path: Path, most: int | None = None) -> TemporalScore:
    """Run a video through a lane pipeline and score its steadiness over the first `most` frames."""
    pipeline.reset()
    log = TemporalLog()
    with open_frames(path) as frames:
        for count, frame in enumerate(frames):
            if most is not None and count >= most:
                break
            lanes = pipeline(frame)
            assert isinstance(lanes, Lanes)
            log.update(lanes)
    return log.score()


def _tell(name: str) -> None:
    remarks_console.print(f"  {name}")
