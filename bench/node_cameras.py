"""Nodes of several cameras in one process beside a process each: memory, latency and time to end, over DDS.

    python bench/node_cameras.py --cameras 2 --rate 10 --seconds 30 --out bench/results/node_cameras.json

Both ways run in turns, with the same frames, so that what else the machine is at hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from rtseg_ros.demo.drive import render_drive
from rtseg_ros.demo.live import Process
from rtseg_ros.recorder import Recording
from rtseg_ros.transport import private_environment
from told import anonymous_mib, machine, processor_seconds, tell

TOPICS = ("-r", "image:=image_raw", "-r", "camera_info:=camera_info")


def measure(arguments: argparse.Namespace, video: Path, together: bool, folder: Path) -> dict[str, object]:
    """Run all cameras once."""
    folder.mkdir()
    environment = private_environment(os.environ)
    cameras = [f"camera{number}" for number in range(arguments.cameras)]
    ros = ["--ros-args", *TOPICS, "-p", f"model:={arguments.model}", "-p", f"threads:={arguments.threads}"]
    commands = [["rtseg_ros.lanes", *ros, "-r", f"__ns:=/{camera}"] for camera in cameras]
    if together:
        commands = [["rtseg_ros.cameras", *(f"{camera}/lanes" for camera in cameras), *ros]]
    running: list[Process] = []

    def start(name: str, words: list[str]) -> Process:
        running.append(Process(name, words, environment, folder))
        return running[-1]

    try:
        for camera in cameras:
            place = [str(folder / camera), "--node", f"/{camera}/lanes", "--masks", f"/{camera}/lanes/lane_mask"]
            start(f"recorder {camera}", ["rtseg_ros.recorder", *place])
        recorders = list(running)
        nodes = [start(f"node {number}", words) for number, words in enumerate(commands)]
        while not all((folder / camera / "ready").exists() for camera in cameras):
            for process in running:
                process.ended()
            time.sleep(0.1)
        played = ["--rate", str(arguments.rate), "--seconds", str(arguments.seconds), "--hold", "30", "--ros-args"]
        players = [
            start(f"player {camera}", ["rtseg_ros.player", str(video), *played, *TOPICS, "-r", f"__ns:=/{camera}"])
            for camera in cameras
        ]
        while not all(player.ended() for player in players):
            memory = [anonymous_mib(node.pid) for node in nodes]
            busy = [processor_seconds(node.pid) for node in nodes]
            time.sleep(0.5)
        asked = time.monotonic()
        for process in (*nodes, *recorders):
            process.stop()
            if process is nodes[-1]:
                ended = time.monotonic() - asked
    finally:
        for process in running:
            process.end()
    latency = np.array([entry.latency_ms for camera in cameras for entry in Recording(folder / camera).entries])
    return {
        "masks": len(latency),
        "stamp_to_mask_ms": {f"p{q}": round(float(np.percentile(latency, q)), 1) for q in (50, 90, 99)},
        "anonymous_mib": round(sum(memory)),
        "processor_seconds": round(sum(busy), 1),
        "end_after_signal_s": round(ended, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lanes-lite")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result: dict[str, object] = {key: value for key, value in vars(arguments).items() if key != "out"}
    ways: dict[str, list[object]] = {"one_process": [], "a_process_each": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        render_drive(folder, 11, 1.0, 30)
        for turn in range(arguments.turns):
            for way, results in ways.items():
                results.append(measure(arguments, folder / "drive.mp4", way == "one_process", folder / f"{way}{turn}"))
                print(json.dumps(results[-1]), flush=True)
    tell({**result, **ways, **machine()}, arguments.out)


if __name__ == "__main__":
    main()
