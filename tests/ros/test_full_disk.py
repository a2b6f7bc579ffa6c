"""Disks that fill while masks are recorded or a log is written: one sentence, the right exit code, nothing half."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from rtseg_ros import recorder
from rtseg_ros.messages import to_image

from tests.ros.harness import PATIENCE, Process, header, qos

pytestmark = pytest.mark.ros
FULL = Path("/dev/full")
"""Of which each write fails as on a full disk."""


def test_a_recorder_on_a_full_disk_says_so_and_what_its_index_names_is_whole(
    dds: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    command = [sys.executable, "-c", f"{limited}from rtseg_ros.recorder import main; main()", str(out)]
    process = Process([*command, "--masks", "/full/mask"], dds, tmp_path / "log")
    node = Node("masks", namespace="full")
    masks = node.create_publisher(recorder.Image, "mask", qos(1))
    noise = np.random.default_rng(0).integers(0, 256, (90, 80), np.uint8)
    try:
        for stamp in range(1, int(10 * PATIENCE)):
            if process.child.poll() is not None:
                break
            masks.publish(to_image(noise, "mono8", header(stamp)))
            rclpy.spin_once(node, timeout_sec=0.1)
        assert process.child.wait(1.0) == 1, process.output()
    finally:
        process.end()
        node.destroy_node()
    *_, told = process.output().splitlines()
    assert told == f"recorder: expected to record to {out}, got File too large; check the space on the disk"
    assert not (out / recorder.DIAGNOSTICS).exists()
    (out / recorder.DIAGNOSTICS).write_text("{}")
    recording = recorder.Recording(out)
    assert len(recording.entries) == 2
    for entry in recording.entries:
        np.testing.assert_array_equal(recording.mask(entry), noise)
    recording.close()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_process_whose_output_has_no_room_ends_with_its_code() -> None:
    script = "from rtseg_ros.lifecycle import _leave; print('said'); _leave(3)"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    assert Process([sys.executable, "-c", script], buffered, FULL).child.wait(PATIENCE) == 3
