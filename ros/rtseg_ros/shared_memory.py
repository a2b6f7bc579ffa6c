"""Room in /dev/shm: with too little frames take a slower way, with none ROS' own libraries end a process unheard."""

from __future__ import annotations

import os

PLACE = "/dev/shm"
_CURE = f"remove what ended processes have left there ({PLACE}/fastrtps_*), or give a container more (--shm-size)"
_PROFILED, _BUILT_IN = 33 << 20, 1 << 20
"""Bytes that Fast DDS takes for a node with rtseg's profile, whose segment has 32 MiB, and without, where it has half
of one."""


def why_none_starts() -> str:
    """Say why no ROS process can start with what is left; empty where one can, or there is no such place.

    LTTng, which rclpy is linked to, writes to a page for all users and one for this user when it is loaded. Where there
    are none left for them the kernel ends the process by SIGBUS. They stay, and later processes use them.
    """
    left = _left()
    if left is None or left >= 2 * os.sysconf("SC_PAGE_SIZE") or _has_pages():
        return ""
    return f"expected room in {PLACE} for ROS' libraries, got {left} bytes; {_CURE}"


def why_slow(with_profile: bool) -> str:
    """Say that Fast DDS has no room for its shared memory; to be asked before it takes that. Empty where it has."""
    left, wanted = _left(), _PROFILED if with_profile else _BUILT_IN
    if left is None or left >= wanted:
        return ""
    return (
        f"shared memory has {left / 2**20:.1f} MiB left in {PLACE}, Fast DDS wants {wanted >> 20}: frames come over "
        f"UDP, where large ones are lost; {_CURE}"
    )


def why_full() -> str:
    """Say that nobody can take shared memory any more, while a node runs, which has its own; empty where there is room.

    Who comes then is served over UDP, as Fast DDS does by itself.
    """
    left = _left()
    if left is None or left >= _BUILT_IN:
        return ""
    return (
        f"{PLACE} is full ({left >> 10} KiB left): who subscribes from now on gets results over UDP, where large ones "
        f"are lost, and other ROS processes may not start; {_CURE}"
    )


def _left() -> int | None:
    try:
        found = os.statvfs(PLACE)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _has_pages() -> bool:
    user = f"-{os.getuid()}"
    with os.scandir(PLACE) as entries:
        files = [entry for entry in entries if entry.name.startswith("lttng-ust-wait-") and entry.name.endswith(user)]
        return any(file.stat().st_blocks for file in files)
