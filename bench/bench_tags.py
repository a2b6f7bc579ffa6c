"""Tag assignment over a whole training set, beside the paper's way: batches of 400 solved to optimality one by one.

`pytest bench/bench_tags.py` times a small set; the tables at the paper's size (18,878 instances, 20 classes):

    python bench/bench_tags.py --table speed        # time, peak memory and proven gap, in a process of its own
    python bench/bench_tags.py --table accuracy     # against attention alone and batches, over noise levels
    python bench/bench_tags.py --table beta         # accuracy over the paper's values of beta (table 2a)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from rtseg.lab.weak import assign_tags, count_kept, similarity_graph
from rtseg.lab.weak.tags.assignment import TagMethod
from rtseg.lab.weak.tags.synthetic import SyntheticInstances, SyntheticSettings, draw_instances

BATCH = 400
RETENTION = 0.95


def tag_by_attention(data: SyntheticInstances) -> NDArray[np.int32]:
    """The keyword of highest probability; as many instances as eq 8 rejects, those of the lowest such, are noise."""
    p = np.where(data.allowed, data.probabilities, -1.0)
    tags = p.argmax(axis=1).astype(np.int32)
    rejected = len(tags) - count_kept(len(tags), RETENTION)
    tags[np.argsort(p.max(axis=1), kind="stable")[:rejected]] = -1
    return tags


def tag_in_batches(data: SyntheticInstances, beta: float = 30.0, method: TagMethod = "auto") -> NDArray[np.int32]:
    """Section 5.4's way: graph and program for each batch of 400 on its own."""
    parts = []
    for first in range(0, len(data.truth), BATCH):
        part = slice(first, first + BATCH)
        edges, weights = similarity_graph(data.features[part])
        solved = assign_tags(
            edges, weights, data.probabilities[part], data.allowed[part], beta, RETENTION, method=method
        )
        parts.append(solved.tags)
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def data() -> SyntheticInstances:
    return draw_instances(SyntheticSettings(instances=2000))


@pytest.mark.parametrize("beta", [0.0, 30.0])
def test_whole_set(benchmark: BenchmarkFixture, data: SyntheticInstances, beta: float) -> None:
    benchmark.group = f"tags of 2,000 instances, beta {beta:g}"
    edges, weights = similarity_graph(data.features)
    result = benchmark(assign_tags, edges, weights, data.probabilities, data.allowed, beta=beta, method="relaxation")
    assert result.gap < 0.01


@pytest.mark.parametrize("beta", [0.0, 30.0])
def test_exact_batches_of_400(benchmark: BenchmarkFixture, data: SyntheticInstances, beta: float) -> None:
    benchmark.group = f"tags of 2,000 instances, beta {beta:g}"
    tags = benchmark.pedantic(tag_in_batches, (data, beta, "exact"), rounds=2)
    assert len(tags) == len(data.truth)


def test_similarity_graph(benchmark: BenchmarkFixture, data: SyntheticInstances) -> None:
    edges, _ = benchmark(similarity_graph, data.features)
    assert len(edges) >= 3000


def _measure(path: str, beta: float) -> None:
    """In a process of its own (Linux): load a set and its graph, assign, and print time, memory and gap.

    The first call loads the compiled kernels. Processor seconds stand beside the clock's, for machines that are busy.
    """

    def peak() -> float:
        # getrusage's maximum survives exec and would show the parent's; this one is of this process alone.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    before = peak()
    with np.load(path) as stored:
        inputs = {name: stored[name] for name in stored.files}
    loaded = peak()
    seconds, cpu = [], []
    for _ in range(5):
        start, start_cpu = time.perf_counter(), time.process_time()
        result = assign_tags(**inputs, beta=beta, method="relaxation")
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    print(
        json.dumps(
            {
                "first_s": round(seconds[0], 3),
                "best_s": round(min(seconds), 3),
                "first_cpu_s": round(cpu[0], 3),
                "best_cpu_s": round(min(cpu), 3),
                "rss_imports_mib": round(before),
                "rss_loaded_mib": round(loaded),
                "rss_peak_mib": round(peak()),
                "objective": round(result.objective, 3),
                "bound": round(result.bound, 3),
                "gap": result.gap,
            }
        )
    )


def _print_speed(settings: SyntheticSettings) -> None:
    data = draw_instances(settings)
    similarity_graph(data.features[:100])  # compiled before it is timed
    start, start_cpu = time.perf_counter(), time.process_time()
    edges, weights = similarity_graph(data.features)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    print(f"{settings}\ngraph: {len(edges)} edges in {seconds:.2f} s ({cpu:.2f} s of processor)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "set.npz")
        np.savez(path, edges=edges, weights=weights, probabilities=data.probabilities, allowed=data.allowed)
        for beta in (0.0, 3.0, 30.0, 300.0):
            command = [sys.executable, __file__, "--measure", path, "--beta", str(beta)]
            for _ in range(2):  # the first may compile
                text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(f"beta {beta:g}: {text.strip()}", flush=True)
    start, start_cpu = time.perf_counter(), time.process_time()
    tag_in_batches(data, method="exact")
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    print(f"exact in batches of {BATCH}, graphs included: {seconds:.2f} s ({cpu:.2f} s of processor)", flush=True)


def _accuracies(data: SyntheticInstances, beta: float) -> tuple[float, float, float, float]:
    edges, weights = similarity_graph(data.features)
    result = assign_tags(edges, weights, data.probabilities, data.allowed, beta, RETENTION)
    found = (tag_by_attention(data), tag_in_batches(data, beta), result.tags)
    attention, batches, whole = (100 * float((tags == data.truth).mean()) for tags in found)
    return attention, batches, whole, result.gap


def _print_accuracy(settings: SyntheticSettings) -> None:
    print("attention_noise feature_noise | attention  batches  whole set | margins, percentage points | gap")
    for attention_noise in (0.5, 1.0, 1.5, 2.0):
        for feature_noise in (1.0, 1.5, 2.0, 3.0):
            drawn = draw_instances(replace(settings, attention_noise=attention_noise, feature_noise=feature_noise))
            a, b, w, gap = _accuracies(drawn, 30.0)
            print(
                f"{attention_noise:15.1f} {feature_noise:13.1f} | {a:9.2f} {b:8.2f} {w:10.2f} | "
                f"{w - a:+.2f} {w - b:+.2f} | {gap:.1e}",
                flush=True,
            )


def _print_beta(settings: SyntheticSettings) -> None:
    data = draw_instances(settings)
    print(f"{settings}\nbeta | attention  batches  whole set | gap")
    for beta in (0.0, 3.0, 10.0, 30.0, 90.0, 300.0):
        a, b, w, gap = _accuracies(data, beta)
        print(f"{beta:4g} | {a:9.2f} {b:8.2f} {w:10.2f} | {gap:.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=["speed", "accuracy", "beta"], default="speed")
    parser.add_argument("--instances", type=int, default=SyntheticSettings.instances)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", metavar="NPZ", help=argparse.SUPPRESS)
    parser.add_argument("--beta", type=float, default=30.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        _measure(arguments.measure, arguments.beta)
        return
    settings = SyntheticSettings(instances=arguments.instances, seed=arguments.seed)
    tables = {"speed": _print_speed, "accuracy": _print_accuracy, "beta": _print_beta}
    tables[arguments.table](settings)


if __name__ == "__main__":
    main()
