"""The ablation from a labelled data set to its table: a trial, a labelling run, and a comparison with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.weak.annotations import load_annotations
from rtseg.lab.weak.compare.ablation import AblationRow, ablate
from rtseg.lab.weak.compare.trial import IMAGES, KEYWORDS, PROPOSALS, TRUTH, TrialSettings, make_trial, match_truth
from rtseg.lab.weak.keywords.label import LabelRun, LabelSettings, Progress, label, load_tag_inputs
from rtseg.lab.weak.proposals import open_proposals
from rtseg.lab.weak.stages import listing_digest, run_stage

FROM_TRUTH = "truth"


def run_ablation(
    data: Path,
    out: Path,
    proposals: str,
    trial: TrialSettings,
    settings: LabelSettings,
    progress: Progress | None = None,
) -> tuple[LabelRun, list[AblationRow]]:
    """Label a part of a labelled set from its keywords alone, and compare the tags with the truth.

    Args:
        data: labelled set, see :func:`rtseg.lab.data.instance_folders.read_instances`.
        out: folder of the trial and the run; what is there is taken up.
        proposals: ``truth`` for the labels' masks made worse, or as :func:`open_proposals` takes it.
        trial: what is cut out of the set.
        settings: of the labelling.
        progress: told of every step.

    Raises:
        DatasetError: the set cannot be read.
        WeakSupervisionError: see :func:`rtseg.lab.weak.keywords.label.label`.
    """

    def build(folder: Path) -> Mapping[str, Any]:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if progress:
                progress("trial", done, trial.frames)

        make_trial(read_instances(data), folder, trial, advance)
        return {}

    folder = run_stage(out, 0, "trial", {"data": listing_digest(data), "settings": asdict(trial)}, build).folder
    source = open_proposals(folder / PROPOSALS if proposals == FROM_TRUTH else proposals)
    run = label(folder / IMAGES, folder / KEYWORDS, out, source, settings, progress=progress)
    inputs = load_tag_inputs(run.stages)
    objects, class_ids, _ = load_annotations(folder / TRUTH)
    truth = match_truth(inputs.proposals, objects, class_ids)
    return run, ablate(inputs, truth, settings.beta, settings.retention)
