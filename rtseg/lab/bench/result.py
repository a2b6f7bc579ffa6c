"""What a bench run found, as a file that outlives it: ``bench/results/<hardware>.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from rich.table import Table

from rtseg.errors import DatasetError
from rtseg.files import Part, write_text
from rtseg.regular_file import read_regular
from rtseg.runtime import LatencyLog
from rtseg.settings import Settings, first_fault

_LARGEST = 1 << 26  # bytes of a results file; a run has some thousand


class Latency(Settings):
    """Milliseconds of one stage, or of a whole way."""

    stage: str
    count: Annotated[int, Field(gt=0)]
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Measured(Settings):
    """A value with its unit, or the reason why there is none.

    Attributes:
        value: None where it could not be measured.
        unit: of the value.
        how: where it was read.
        reason: why there is no value.
    """

    value: float | None = None
    unit: str
    how: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"not measured: {self.reason}" if self.value is None else f"{self.value:.4g} {self.unit} ({self.how})"


class Peer(Settings):
    """The same frames through plain code, in the same run.

    Attributes:
        name: what ran.
        network: the file it ran.
        total: host image to host mask.
        infer: the network alone.
        times_slower: median of `total` over the pipeline's; None where the peer could not run.
        reason: why it could not.
    """

    name: str
    network: str = ""
    total: Latency | None = None
    infer: Latency | None = None
    times_slower: float | None = None
    reason: str = ""


class Floor(Settings):
    """The least time that this machine could need: bytes that have to move, operations that have to be done.

    Attributes:
        macs: multiplications of the network, each with its addition.
        precision: that the rate was measured in.
        megabytes: frame in, network input out and in, weights in, outputs out and in, mask out.
        giga_ops: operations a second of a matrix product, 1e9; two to a multiplication with its addition.
        copy_gigabytes: a second, read and written together.
        compute_ms: operations over the rate.
        copy_ms: bytes over the bandwidth.
        times_over: median of host to host, or of the device's stages where there is a device, over the larger of the
            two, which can overlap.
        infer_times_over: median of the network alone over its operations.
        reason: why there is no floor.
    """

    macs: int | None = None
    precision: str = ""
    megabytes: float | None = None
    giga_ops: float | None = None
    copy_gigabytes: float | None = None
    compute_ms: float | None = None
    copy_ms: float | None = None
    times_over: float | None = None
    infer_times_over: float | None = None
    reason: str = ""


class BenchRun(Settings):
    """One model with one network file on one backend.

    Attributes:
        size: (height, width) of the frames.
        scene: what they show.
        sequential_fps: frames a second of ``pipeline(image)``, one after the other.
        streamed_fps: frames a second of ``pipeline.stream``, stages of neighboring frames overlapping.
        stages: latency of one frame at a time, by stage, bytes in to message bytes out.
        decode_to_publish: bytes of an image message to bytes of the mask's message.
        host_to_host: host image to host result.
        device_to_device: image on the device to masks there; None on a CPU.
        resident: memory of the process after a few frames.
        grown: what rtseg's model, its libraries and those frames added to what there was before.
        device_memory: memory in use on the card.
        power: mean over the one-by-one run.
    """

    model: str
    network: str
    sha256: str
    precision: str
    backend: dict[str, str]
    threads: int
    size: tuple[int, int]
    frames: int
    encoding: str
    scene: str = "unrelated roads"  # as in files from before it was said
    sequential_fps: float
    streamed_fps: float
    stages: tuple[Latency, ...]
    decode_to_publish: Latency
    host_to_host: Latency
    device_to_device: Latency | None
    resident: Measured
    grown: Measured
    device_memory: Measured
    power: Measured
    load_average: float | None
    peers: tuple[Peer, ...] = ()
    floor: Floor | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two runs the same measurement."""
        return (self.model, self.network, self.backend["backend"].split()[0], *map(str, self.size), self.encoding)

    @property
    def wholes(self) -> tuple[Latency, ...]:
        """The ways of a frame that were timed from end to end."""
        return (self.decode_to_publish, self.host_to_host, *filter(None, [self.device_to_device]))

    def table(self) -> Table:
        """The figures as a table for the terminal."""
        height, width = self.size
        table = Table(
            "stage",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms",
            title=f"{self.model} ({self.network}), {self.scene} at {width}x{height}: "
            f"{self.sequential_fps:.0f} FPS one by one, {self.streamed_fps:.0f} FPS streamed "
            f"({self.backend['backend']}, {self.backend['device']})",
        )
        for rows in (self.stages, self.wholes):
            for row in rows:
                table.add_row(row.stage, *(f"{value:.2f}" for value in (row.p50, row.p90, row.p99, row.max)))
            table.add_section()
        return table

    def remarks(self) -> list[str]:
        """What the table does not hold, one line each."""
        lines = [f"memory {self.resident}; power {self.power}"]
        for peer in self.peers:
            if peer.total is None:
                lines.append(f"{peer.name}: not run: {peer.reason}")
            else:
                lines.append(f"{peer.name}: p50 {peer.total.p50:.2f} ms, {peer.times_slower:.2f} times ours")
        floor = self.floor
        if floor is not None and floor.compute_ms is None:
            lines.append(f"no floor: {floor.reason}")
        elif floor is not None:
            lines.append(
                f"floor: {floor.compute_ms:.2f} ms for {floor.macs or 0:,} multiplications at {floor.giga_ops:.0f} "
                f"{floor.precision} GOP/s, {floor.copy_ms:.2f} ms for {floor.megabytes:.1f} MB at "
                f"{floor.copy_gigabytes:.1f} GB/s; whole frame {floor.times_over:.1f} times that, "
                f"network {floor.infer_times_over:.1f} times"
            )
        return lines


class BenchFile(Settings):
    """Every run on one machine.

    Attributes:
        version: of this layout.
        hardware: a name for the machine, for a person.
        facts: processor, memory, system.
        versions: of the libraries that matter.
        commit: of rtseg, "-dirty" where files had been changed; empty where it is not a checkout.
        date: UTC.
    """

    version: Literal[2] = 2
    hardware: str
    facts: dict[str, str]
    versions: dict[str, str]
    commit: str
    date: str
    runs: tuple[BenchRun, ...]

    @classmethod
    def load(cls, path: Path) -> BenchFile:
        """Read a results file.

        Raises:
            DatasetError: the file is missing or is no such file; the message names the field.
        """
        try:
            return cls.model_validate_json(read_regular(path, _LARGEST).decode("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"expected bench results at {path}: {error}") from error
        except ValidationError as error:
            raise DatasetError(
                f"{path} holds no bench results of this version: {first_fault(error)}; run rtseg bench --json again"
            ) from error

    @classmethod
    def before(cls, path: Path) -> BenchFile | None:
        """What the file holds that is to be written, None if there is none; called before a run, it spares a vain one.

        Raises:
            DatasetError: a file of that name is there that holds no such results.
            MediaError: it cannot be written.
        """
        Part(path).discard()
        if not path.exists() or not path.stat().st_size:  # as mktemp leaves it
            return None
        try:
            return cls.load(path)
        except DatasetError as error:
            raise DatasetError(
                f"expected results of this version or no file at {path}, got another, which is not overwritten; "
                "name another file or remove it"
            ) from error

    def write(self, path: Path) -> None:
        """Write the file; runs that a file of the same machine holds already are kept, the same ones replaced.

        Raises:
            DatasetError: a file of that name is there that holds no such results.
            MediaError: it cannot be written.
        """
        merged, before = self, BenchFile.before(path)
        if before is not None and before.hardware == self.hardware and before.commit == self.commit:
            new = {run.key for run in self.runs}
            runs = (*(run for run in before.runs if run.key not in new), *self.runs)
            merged = self.model_copy(update={"runs": runs})
        write_text(path, merged.model_dump_json(indent=1) + "\n")


def latency_of(log: LatencyLog, stage: str) -> Latency:
    """Percentiles of one stage of a log, rounded to a microsecond."""
    row = next(row for row in log.summary() if row.stage == stage)
    values = {name: round(float(getattr(row, name)), 3) for name in ("mean", "p50", "p90", "p99", "max")}
    return Latency(stage=stage, count=row.count, **values)
