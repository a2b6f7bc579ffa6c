"""A node under a live camera: player, node and subscriber in their own processes, raw frames over DDS.

    python bench/node_stream.py --seconds 60 --out bench/results/node_stream.json
    python bench/node_stream.py --task both --rate 10 --seconds 60

Gives frames lost (and where), stamp-to-mask latency, and the node's memory and processor time over the run, as JSON.
The frames are decoded before the stream starts and sent from memory, as a camera driver would send them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from rtseg_ros.demo.drive import render_drive
from rtseg_ros.demo.live import REMAPPINGS, Process
from rtseg_ros.demo.tasks import TASKS
from rtseg_ros.recorder import Recording
from rtseg_ros.transport import private_environment
from told import machine, processor_seconds, tell


def _usage(pid: int) -> tuple[float, float]:
    """Resident megabytes and processor seconds of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, processor_seconds(pid)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run the three processes once."""
    source = arguments.input or folder / "drive.mp4"
    task = TASKS[arguments.task]
    if arguments.input is None:
        render_drive(folder, 11, arguments.hold / 30, 30, street=arguments.task != "lanes")
    environment = private_environment(os.environ)
    if arguments.no_profile:
        environment = {name: value for name, value in environment.items() if "PROFILES_FILE" not in name}
    recording, log = folder / "recording", folder / "player.json"
    models = dict(zip(task.models, arguments.model or task.models.values(), strict=True))
    parameters = [word for name, model in models.items() for word in ("-p", f"{name}:={model}")]
    parameters += ["-p", f"threads:={arguments.threads}", "-p", f"backend:={arguments.backend}"]
    playing = ["--rate", str(arguments.rate), "--seconds", str(arguments.seconds), "--hold", str(arguments.hold)]
    processes = [
        Process(
            "recorder",
            ["rtseg_ros.recorder", str(recording), "--node", f"/{task.node}", "--masks", *task.masks],
            environment,
            folder,
        ),
        Process(
            "node",
            [f"rtseg_ros.{task.node}", "--ros-args", *REMAPPINGS, *parameters],
            environment,
            folder,
        ),
    ]
    samples: list[tuple[float, float, float]] = []
    try:
        while not (recording / "ready").exists():
            for process in processes:
                process.ended()
            time.sleep(0.05)
        player = Process(
            "player",
            ["rtseg_ros.player", str(source), "--log", str(log), *playing, "--ros-args", *REMAPPINGS],
            environment,
            folder,
        )
        processes.append(player)
        start = time.monotonic()
        while not player.ended():
            samples.append((time.monotonic() - start, *_usage(processes[1].pid)))
            time.sleep(1.0)
        time.sleep(2.0)
        for process in processes[:2]:
            process.stop()
    finally:
        for process in processes:
            process.end()
    # The last of a frame's masks to arrive is the one that counts.
    return _summary(json.loads(log.read_text()), Recording(recording), samples, task.masks[-1])


def _summary(
    played: dict, recording: Recording, samples: list[tuple[float, float, float]], topic: str
) -> dict[str, object]:
    sent = set(played["stamps"])
    entries = [entry for entry in recording.entries if entry.stamp in sent and entry.topic == topic]
    latency = np.array([entry.latency_ms for entry in entries])
    quarters = [float(np.median(part)) for part in np.array_split(latency, 4)]
    told = recording.diagnostics
    memory = [round(megabytes, 1) for _, megabytes, _ in samples]
    (first, _, busy_first), (last, _, busy_last) = samples[len(samples) // 3], samples[-1]
    return {
        "sent": len(sent),
        "sent_late": played["late"],
        "masks": len(latency),
        "lost": len(sent) - len(latency),
        "received_by_node": int(told["received"]),
        "dropped_by_node": {k.removeprefix("dropped_"): int(v) for k, v in told.items() if k.startswith("dropped_")},
        "stamp_to_mask_ms": {
            **{f"p{q}": round(float(np.percentile(latency, q)), 2) for q in (50, 90, 99)},
            "max": round(float(latency.max()), 2),
            "p50_by_quarter": [round(quarter, 2) for quarter in quarters],
        },
        "node_stages_p50_ms": {k[6:-7]: float(v) for k, v in told.items() if k.startswith("stage_") and "_p50_" in k},
        "node_processor_share": round((busy_last - busy_first) / (last - first), 2),
        "node_resident_mb": memory,
        "node_growth_mb": round(memory[-1] - memory[len(memory) // 3], 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, help="bag or video; by default a rendered drive")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--hold", type=int, default=60, help="different frames, repeated")
    parser.add_argument("--task", choices=list(TASKS), default="lanes")
    parser.add_argument("--model", nargs="+", help="as many as the task has; by default the bundled ones")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--no-profile", action="store_true", help="without the large-frame profile, for comparison")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result = {
        "model": " ".join(arguments.model or TASKS[arguments.task].models.values()),
        "task": arguments.task,
        "rate_hz": arguments.rate,
        "seconds": arguments.seconds,
        "profile": not arguments.no_profile,
        **machine(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        **result,
    }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
