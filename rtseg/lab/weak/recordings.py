"""Recordings without labels made a set of a training: an earlier stage, or a model, labels what it is sure of."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from rtseg.errors import DatasetError, MediaError, WeakSupervisionError
from rtseg.lab.data.tusimple import LABELS, read_labels, write_labels
from rtseg.lab.deploy.package import package_model
from rtseg.lab.weak.teacher import TeacherSettings, label_lanes
from rtseg.loading import load
from rtseg.media import open_frames

logger = logging.getLogger("rtseg")


def label_recordings(teacher: str | Path, recordings: Path, out: Path, confidence: float) -> None:
    """Label the lanes of all recordings in a folder, each in a folder of its own; `out/labels.json` names all frames.

    Recordings in which the teacher is sure of no line are left out, and named in the log.

    Args:
        teacher: folder of a training run, or what :func:`rtseg.load` takes.
        recordings: folder of videos and bags; other files in it are let be.
        out: folder of the labels; recordings that were labelled in it before are not again.
        confidence: lines less sure are ignored, see :class:`TeacherSettings`.

    Raises:
        DatasetError: no recording is there, or none has a line that the teacher is sure of.
        ModelError, WeakSupervisionError: there is no such teacher, or it finds no lanes.
    """
    if (Path(teacher) / "model.safetensors").is_file():
        with TemporaryDirectory() as packaged:
            model = Path(packaged) / "teacher"  # a card has the name of its folder
            package_model(Path(teacher), model)
            return label_recordings(model, recordings, out, confidence)
    labels = []
    with closing(load(str(teacher))) as pipeline:
        for recording in sorted(recordings.iterdir()):
            folder = out / recording.stem
            if (folder / LABELS).is_file():  # of a run that was interrupted
                labels += read_labels(folder)
                continue
            try:
                source = open_frames(recording)
            except MediaError:
                continue
            with source:
                try:
                    label_lanes(source, pipeline, folder, TeacherSettings(confidence=confidence))
                except WeakSupervisionError as error:
                    logger.warning("%s: left out: %s", recording.name, error)
                    continue
            labels += read_labels(folder)
    if not labels:
        raise DatasetError(f"expected recordings with lanes that {teacher} is sure of in {recordings}, found none")
    write_labels(labels, out)
