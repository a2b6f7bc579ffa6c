"""Time from a node's start to its first mask, with kernels to compile and without, beside what no node can do without.

    python bench/cold_start.py --task lanes --runs 5 --out bench/results/cold_start.json

Frames come at camera rate all the while. The floor is a Python that imports rclpy and the network's runtime, makes a
node and opens the network, as this node does at the least. Processor time says the same on a machine that is busy.
Python's bytecode is there, as pip leaves it: a first round that is not counted writes it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rtseg_ros.demo.live import Process
from rtseg_ros.demo.tasks import TASKS
from rtseg_ros.messages import stamp_of, to_image
from rtseg_ros.transport import private_environment
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from told import machine, processor_seconds, tell

from rtseg.lab.render import render_road
from rtseg.runtime.models import find_model

FLOOR = """
import sys, onnxruntime, rclpy
from rclpy.node import Node
rclpy.init()
node = Node("floor")
for model in sys.argv[1:]:
    onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
"""
PATIENCE = 600.0


def floor(models: list[Path], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds, and seconds of a processor, that a node of these models cannot do without."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", FLOOR, *map(str, models)], env=environment, check=True)
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_mask(task: str, environment: dict[str, str], folder: Path) -> tuple[float, float]:
    """Seconds from the start of the node's process to its first mask, and how much a processor worked for it."""
    chosen = TASKS[task]
    node = Node("camera")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    masks: dict[str, Image] = {}
    for topic in chosen.masks:
        node.create_subscription(Image, topic, lambda message, topic=topic: masks.setdefault(topic, message), 10)
    camera = node.create_publisher(Image, "image", 1)
    picture = render_road(1, (720, 1280)).image
    start = time.monotonic()
    process = Process("node", [f"rtseg_ros.{chosen.node}"], environment, folder)
    try:
        while len(masks) < len(chosen.masks):
            process.ended()
            if time.monotonic() - start > PATIENCE:
                raise SystemExit(f"no mask in {PATIENCE:.0f} s:\n{process.tail()}")
            header = Header(stamp=stamp_of(time.time_ns()), frame_id="camera")
            camera.publish(to_image(picture, "bgr8", header))
            executor.spin_once(timeout_sec=1 / 30)
        taken = time.monotonic() - start, processor_seconds(process.pid)
        process.stop()
    finally:
        process.end()
        executor.shutdown()
        node.destroy_node()
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=list(TASKS), default="lanes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    bytecode = tempfile.TemporaryDirectory()
    environment = {**private_environment(os.environ), "PYTHONPYCACHEPREFIX": bytecode.name}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.update(environment)
    models = [find_model(name).path for name in TASKS[arguments.task].models.values()]
    taken: dict[str, list[tuple[float, float]]] = {"floor": [], "not_compiled": [], "compiled": []}
    rclpy.init(args=[])
    for _ in range(1 + arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            fresh = {**environment, "NUMBA_CACHE_DIR": str(Path(folder) / "kernels")}
            taken["floor"].append(floor(models, fresh))
            for state in ("not_compiled", "compiled"):
                taken[state].append(first_mask(arguments.task, fresh, Path(folder)))
    rclpy.shutdown()
    result = {
        "task": arguments.task,
        **{
            state: {
                "seconds_p50": round(float(np.median([seconds for seconds, _ in times[1:]])), 2),
                "processor_seconds_p50": round(float(np.median([busy for _, busy in times[1:]])), 2),
            }
            for state, times in taken.items()
        },
        "runs": arguments.runs,
        **machine(),
    }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
