"""What a job's results depend on, and how a shard is known to be done."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Annotated, TypeVar

import fsspec
from pydantic import ConfigDict, Field, ValidationError

from rtseg.errors import ConfigError, MediaError
from rtseg.lab.fleet.rows import SCHEMA_VERSION, ShardName, write_whole
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.fleet.stores import absolute, reaching
from rtseg.runtime.card import ModelCard
from rtseg.settings import Settings, first_fault

JOB_FILE = "job.yaml"
"""JSON, which YAML is too: files called ``*.json`` are labels in the training folder that a job of labels makes."""

Job = TypeVar("Job", bound="JobSettings")


class JobSettings(Settings):
    """All that rows depend on but for the recordings; one folder of results has one of these.

    Attributes:
        model: bundled model, or a folder that every worker sees.
        model_hash: of its card, which holds the hashes of its networks.
        device, backend: as of :func:`rtseg.load`.
        topic: image topic of bags that have several cameras.
        shard_seconds: length of a shard of a long recording.
        lead_in: seconds before a shard that are worked on again, so that tracks are as without shards. Tracks forget
            within two seconds; the rest is for beliefs to settle.
        schema_version: of the rows.
    """

    model_config = ConfigDict(protected_namespaces=())

    model: str = "lanes-lite"
    model_hash: str = ""
    device: str = "auto"
    backend: str = "auto"
    topic: str | None = None
    shard_seconds: Annotated[float, Field(gt=0)] = 120.0
    lead_in: Annotated[float, Field(ge=0)] = 5.0
    schema_version: int = SCHEMA_VERSION

    def shard(self, recording: Recording, part: Part) -> ShardName:
        """The name of a shard's file under these settings."""
        facts = [recording.uri, recording.version, self.model_dump(mode="json")]
        digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()
        return ShardName(recording.key, digest, part.index, part.count)


def model_hash(card: ModelCard) -> str:
    """Hash of a card, and through it of its networks."""
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()[:16]


def claim_folder(out: str, settings: JobSettings, again: bool = False) -> None:
    """Make a folder the one of a job; rows of other models or settings never come to lie among its own.

    Args:
        out: local or remote folder.
        settings: of the job.
        again: do all anew: what rows and faults are there is deleted first.

    Raises:
        ConfigError: it holds the results of other settings, or what is there cannot be read.
    """
    with reaching(out):
        fs, path = fsspec.core.url_to_fs(out)
        for name in (*ROOMS, JOB_FILE) if again else ():
            if fs.exists(f"{path}/{name}"):
                fs.rm(f"{path}/{name}", recursive=True)
        begun = fs.exists(f"{path}/{JOB_FILE}")
    if not begun:
        write_whole(out, JOB_FILE, settings.model_dump_json(indent=1).encode() + b"\n")
        return
    ours = settings.model_dump()
    theirs = _read(out, type(settings)).model_dump()
    differing = [f"{name} {value}" for name, value in theirs.items() if value != ours[name]]
    if differing:
        raise ConfigError(
            f"expected results of these settings in {out}, got those of {', '.join(differing)}; "
            "choose another --out, or --no-resume to replace them"
        )


def read_settings(out: str) -> JobSettings:
    """The settings of the replay whose folder it is.

    Raises:
        ConfigError: it is no such folder.
    """
    return _read(out, JobSettings)


def refuse_job_folder(out: str, *jobs: str) -> None:
    """Refuse to write results about jobs to the folder of one of them, whose page they would replace.

    Raises:
        ConfigError: it is.
    """
    for job in jobs:
        if os.path.realpath(absolute(out)) == os.path.realpath(absolute(job)):
            raise ConfigError(f"expected another folder than the job's own, got {out}; give another --out")


def _read(out: str, kind: type[Job]) -> Job:
    try:
        with reaching(out), fsspec.open(f"{out}/{JOB_FILE}", "rb") as file:
            content = file.read()
        return kind.model_validate_json(content)
    except ValidationError as error:
        reason = f"{JOB_FILE}: {first_fault(error)}"
    except MediaError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        reason = f"there is no {JOB_FILE} in it" if missing else str(error)
    raise ConfigError(
        f"expected the folder of a fleet job, got {out} ({reason}); name its --out, or to compare models the "
        "recordings after them"
    )


ROOMS = ("rows", "faults")
"""Folders of a job that hold what its shards gave."""
