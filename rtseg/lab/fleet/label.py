"""Labels from a fleet's recordings without a person: by a trained model, or by keywords of whole frames."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rtseg.errors import MediaError
from rtseg.files import write_bytes, write_text
from rtseg.lab.data.tusimple import LABELS
from rtseg.lab.fleet.damage import damage_of
from rtseg.lab.fleet.job import run_job
from rtseg.lab.fleet.label_worker import LabelSettings, LabelWorker
from rtseg.lab.fleet.queue import TaskQueue
from rtseg.lab.fleet.rows import read_shard, shards_in
from rtseg.lab.fleet.settings import claim_folder, model_hash
from rtseg.lab.fleet.sources import find_recordings
from rtseg.lab.fleet.start import held_folder, open_workers
from rtseg.lab.fleet.stores import common_folder, known_model, local_folder
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.lab.weak.proposals import FREE, open_proposals
from rtseg.lab.weak.recording import IMAGES, TEMPLATE
from rtseg.printing import visible
from rtseg.runtime import find_model
from rtseg.runtime.models import known_models

PROPOSALS = "proposals.json"
_SHOWN = 24


@dataclass(frozen=True)
class FleetLabels:
    """What was made.

    Attributes:
        folder: pictures in ``images/``, and their labels: ``labels.json`` of a teacher, ``proposals.json`` and
            ``keywords.csv`` for keywords.
        pictures: in it.
        labels: lines, or proposals.
        recordings: that gave pictures.
        faults: sources and recordings that gave none, or not all they should hold, (address, reason).
    """

    folder: Path
    pictures: int
    labels: int
    recordings: int
    faults: tuple[tuple[str, str], ...]


def label_settings(model: str = "", proposals: str = FREE, **settings: Any) -> LabelSettings:
    """Settings that also tell one content of a model, or of a source of proposals, from another.

    Args:
        model: the teacher; empty for labels by keywords.
        proposals: where objects come from, for labels by keywords.
        settings: others of :class:`LabelSettings`.

    Raises:
        ModelError: there is no such model.
        WeakSupervisionError: there are no such proposals.
        ArgumentError: a setting is out of its range.
    """
    if model:
        chosen = {"model": known_model(model), "model_hash": model_hash(find_model(model).card)}
    else:
        digest = open_proposals(proposals).digest if proposals != FREE else FREE
        there = os.path.exists(proposals) and proposals not in known_models()
        chosen = {"model": "", "model_hash": digest, "proposals": os.path.abspath(proposals) if there else proposals}
    return LabelSettings(**{"lead_in": 0.0, **chosen, **settings})


def label_fleet(
    sources: Sequence[str],
    out: Path,
    settings: LabelSettings,
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    gpus: float = 0.0,
    tries: int = 3,
    timeout: float = 3600.0,
    resume: bool = True,
    progress: bool = True,
) -> FleetLabels:
    """Label frames of recordings, shard by shard as :func:`rtseg.lab.fleet.replay.replay_fleet` replays them.

    Args:
        sources: as of :func:`rtseg.lab.fleet.sources.find_recordings`.
        out: folder that all workers see under this name; gets the labels, and their rows.
        settings: of the job.
        address: as of `replay_fleet`, like all that follow.
        workers: processes; 0 works in this one.
        threads: cores of each.
        gpus: of each.
        tries: crashes after which a recording is given up.
        timeout: seconds after which a shard counts as hung.
        resume: keep what is done already.
        progress: show it.

    Raises:
        ConfigError: `out` holds the results of other settings.
        MediaError: results cannot be written, or no frame could be labelled.
        BackendError: no worker could be started.
    """
    out = Path(os.path.abspath(local_folder(out)))
    found = find_recordings(sources)
    recordings = [one for one in found.recordings if one.uri != os.path.realpath(out / IMAGES)]  # its own
    with held_folder(str(out)):
        claim_folder(str(out), settings, again=not resume)
        queue = TaskQueue(recordings, settings, str(out), tries, found.twins)
        if queue:
            pool = open_workers(settings, str(out), address, workers, threads, gpus, timeout, LabelWorker)
            try:
                run_job(queue, pool, progress)
            finally:
                pool.close()
        faults = [(fault.uri, fault.reason) for fault in found.faults if fault.kind != "duplicate"]
        faults += [(uri, state.fault) for uri, state in queue.progress.states.items() if state.fault]
        wanted = {recording.key for recording in recordings}
        made = _Export(out, settings.by, wanted).write(tuple(faults))
    if not made.pictures:
        reasons = "; ".join(reason for _, reason in faults[:3]) or "nothing in them could be labelled"
        raise MediaError(f"expected frames to label, got none ({reasons}); check the sources")
    return made


def name_objects(made: FleetLabels, keywords: Path, small: bool = False) -> Path:
    """Let keywords name the objects of all recordings at once (:func:`rtseg.lab.weak.keywords.label.label`).

    Args:
        made: of a job by keywords.
        keywords: YAML or CSV; names are those of the pictures, patterns will do.
        small: small inputs and a fixed backbone.

    Returns:
        Folder for ``rtseg train --data``; ``weak/report.html`` beside it shows it.

    Raises:
        WeakSupervisionError: the keywords do not parse, or fit no picture.
    """
    from rtseg.lab.weak.keywords.label import LabelSettings as KeywordSettings
    from rtseg.lab.weak.keywords.label import label, small_settings
    from rtseg.lab.weak.label_report import write_label_report
    from rtseg.lab.weak.proposals import open_proposals

    settings = replace(small_settings() if small else KeywordSettings(), min_area=1)  # small ones are left out already
    found = open_proposals(made.folder / PROPOSALS)
    run = label(made.folder / IMAGES, keywords, made.folder / "weak", found, settings)
    write_label_report(run, "Labels of a fleet")
    return run.labels


class _Export:
    """Turns the rows of a job into a folder that training reads."""

    def __init__(self, out: Path, by: str, keys: set[str]) -> None:
        self._out = out
        self._by = by
        self._keys = keys
        self._shown: list[Picture] = []
        self._step = 1
        self._damaged: list[tuple[str, str]] = []

    def write(self, faults: tuple[tuple[str, str], ...]) -> FleetLabels:
        names: list[str] = []
        lines: list[str] = []
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        recordings: dict[str, int] = {}
        labels = 0
        for number, row in enumerate(self._rows()):
            path = self._out / IMAGES / row["picture"]
            if not path.exists():
                write_bytes(path, row["jpeg"])
            label = json.loads(row["label"])
            names.append(row["picture"])
            recordings[row["recording"]] = recordings.get(row["recording"], 0) + 1
            if self._by == "teacher":
                lines.append(row["label"])
                labels += len(label["lanes"])
            else:
                image = cv2.imdecode(np.frombuffer(row["jpeg"], np.uint8), cv2.IMREAD_COLOR)
                assert image is not None
                identity = len(images) + 1
                size = {"height": image.shape[0], "width": image.shape[1]}
                images.append({"id": identity, "file_name": row["picture"], **size})
                for entry in label:
                    annotations.append({**entry, "id": len(annotations) + 1, "image_id": identity, "category_id": 1})
                labels += len(label)
            self._show(number, row, label)
        self._forget(set(names))
        if self._by == "teacher":
            write_text(self._out / LABELS, "".join(f"{line}\n" for line in lines))
        else:
            kinds = [{"id": 1, "name": "object"}]
            content = {"images": images, "annotations": annotations, "categories": kinds}
            write_text(self._out / PROPOSALS, json.dumps(content))
            if not (self._out / TEMPLATE).exists():  # it may be filled in
                write_text(self._out / TEMPLATE, "image,keywords\n" + "".join(f"{name},\n" for name in names))
        told = (*faults, *dict.fromkeys(self._damaged))
        result = FleetLabels(self._out, len(names), labels, len(recordings), told)
        self._report(result, recordings)
        return result

    def _rows(self) -> Iterator[dict[str, Any]]:
        folder = f"{self._out}/rows"
        for name in sorted(shards_in(folder), key=lambda name: (name.key, name.index)):
            if name.key in self._keys:
                table = read_shard(folder, name)
                self._damaged += damage_of(table)
                yield from table.to_pylist()

    def _forget(self, names: set[str]) -> None:
        """Delete pictures of recordings that are not among the sources any longer, or have changed."""
        folder = self._out / IMAGES
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in names:
                path.unlink()

    def _show(self, number: int, row: dict[str, Any], label: Any) -> None:
        """Keep a few pictures, evenly from all."""
        if number % self._step:
            return
        image = cv2.imdecode(np.frombuffer(row["jpeg"], np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        for kind, color in (("ignored", (60, 60, 240)), ("lanes", (90, 220, 60))):
            for lane in label[kind] if self._by == "teacher" else ():
                points = [[x, y] for x, y in zip(lane, label["h_samples"], strict=True) if x >= 0]
                cv2.polylines(image, [np.rint(np.array(points, np.float64)).astype(np.int32)], False, color, 4)
        for entry in label if self._by == "keywords" else ():
            x, y, width, height = (round(value) for value in entry["bbox"])
            cv2.rectangle(image, (x, y), (x + width, y + height), (90, 220, 60), 2)
        self._shown.append(Picture.of(row["picture"], np.asarray(image, np.uint8)))
        if len(self._shown) > 2 * _SHOWN:
            self._shown, self._step = self._shown[::2], 2 * self._step

    def _report(self, made: FleetLabels, recordings: dict[str, int]) -> None:
        what = "lines" if self._by == "teacher" else "proposals"
        folder = common_folder(recordings)
        rows = [(uri.removeprefix(folder), str(count)) for uri, count in recordings.items()]
        page = ReportData(
            title="Labels of a fleet",
            subtitle="green: labels; red: lines that are left out of the loss" if self._by == "teacher" else "",
            figures=[("pictures", str(made.pictures)), (what, str(made.labels)), ("recordings", str(made.recordings))],
            tables=[
                table
                for table in (
                    ("Pictures by recording", ("recording", "pictures"), rows),
                    ("Sources with faults", ("source", "reason"), list(made.faults)),
                )
                if table[2]
            ],
            gallery=self._shown,
            facts=machine_facts(),
            notes=[f"{visible(uri)}: {reason}" for uri, reason in made.faults[:20]],
        )
        write_report(self._out / "report.html", page)
