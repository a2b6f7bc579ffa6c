"""All models on this machine, beside plain code, and a node under a camera: the figures of the documentation, anew.

    python bench/renew.py                          # bench/results/<this machine>.json, README.md
    python bench/renew.py --frames 10 --seconds 5 --root trial      # a trial, in a copy of README.md and bench/results

For a machine that does nothing else, about twenty minutes. Files are written when everything was measured.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from rtseg.lab.bench.result import BenchFile, BenchRun
from rtseg.lab.report.machine import hardware_name

ROOT = Path(__file__).resolve().parents[1]
LANES, STREETS = (1280, 720), (1280, 640)
MODELS = {
    "lanes-lite": LANES,
    "lanes-r18": LANES,
    "instances-lite": STREETS,
    "daffnet-base": STREETS,
    "gmis-lite": STREETS,
    "l2c-instances-lite": STREETS,
    "salient-lite": STREETS,
    "exemplar-solo": STREETS,
}
BASE = ("--backend", "onnxruntime")  # what pip install rtseg brings
WAYS: dict[tuple[str, ...], Iterable[str]] = {
    (*BASE, "--compare"): MODELS,
    (*BASE, "--network", "model-fp32.onnx"): ("lanes-lite", "lanes-r18"),
    ("--backend", "openvino"): MODELS if find_spec("openvino") else (),
}
IDLE = 0.3  # load of a machine that does nothing else


def measure(file: Path, frames: int) -> BenchFile:
    """Time every model in a process of its own."""
    for way, models in WAYS.items():
        for model in models:
            width, height = MODELS[model]
            size = ("--width", str(width), "--height", str(height), "--frames", str(frames))
            command = [sys.executable, "-m", "rtseg", "bench", "--model", model, *size, *way, "--json", str(file)]
            subprocess.run(command, check=True)
    return BenchFile.load(file)


def with_rates(readme: str, runs: Iterable[BenchRun]) -> str:
    """The README with each model's rate, int8 by ONNX Runtime, frame by frame, in the last cell of its row."""
    for run in runs:
        if run.precision == "int8" and run.backend["backend"].startswith("ONNX"):
            told = f"{run.sequential_fps:.0f} at {run.size[1]}x{run.size[0]} |"
            readme = re.sub(rf"(?m)^(\| `{re.escape(run.model)}` \|.*\|) [^|]* \|$", rf"\g<1> {told}", readme)
    return readme


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300, help="of each model")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the node's camera")
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md and bench/results are written")
    arguments = parser.parse_args()
    if os.getloadavg()[0] > IDLE:
        print(
            f"this machine is busy (load {os.getloadavg()[0]:.1f}): figures will be worse than it is", file=sys.stderr
        )
    results = arguments.root / "bench" / "results"
    results.mkdir(parents=True, exist_ok=True)
    machine = re.sub(r"\W+", "-", re.sub(r"\(\w+\)", "", hardware_name()).lower()).strip("-")
    with tempfile.TemporaryDirectory() as folder:
        models, node = Path(folder) / f"{machine}.json", Path(folder) / "node-stream-2-cores.json"
        measured = measure(models, arguments.frames)
        live = find_spec("rclpy") is not None
        if live:
            stream = [sys.executable, str(ROOT / "bench" / "node_stream.py"), *BASE, "--out", str(node)]
            subprocess.run([*stream, "--seconds", str(arguments.seconds)], check=True)
        for path in (models, node) if live else (models,):
            shutil.copy(path, results / path.name)
    readme = arguments.root / "README.md"
    readme.write_text(with_rates(readme.read_text(encoding="utf-8"), measured.runs), encoding="utf-8")
    print(f"wrote {results / models.name}, {f'{results / node.name}, ' if live else ''}{readme}")
    if not live:
        print("no rclpy here: the node's figures stay as they were", file=sys.stderr)


if __name__ == "__main__":
    main()
