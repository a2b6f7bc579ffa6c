"""The Fast DDS profile without which large frames are lost, and the variables that name it."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from pathlib import Path

from rtseg.errors import RtsegError

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Humble and Jazzy read the first, Kilted and later the second."""

PROFILE_NAME = "fastdds_large_frames.xml"


def large_frames_profile() -> Path:
    """Path of the profile: in a colcon workspace's share folder, in an installed wheel, or in the repository.

    Raises:
        RtsegError: if it is in none of them.
    """
    package = Path(__file__).resolve().parent
    # <prefix>/lib/pythonX.Y/site-packages/rtseg_ros -> <prefix>/share/rtseg/config
    shares = [parent / "share" / "rtseg" / "config" for parent in package.parents[3:5]]
    for folder in [package / "config", package.parent / "config", *shares]:
        if (folder / PROFILE_NAME).is_file():
            return folder / PROFILE_NAME
    raise RtsegError(f"expected {PROFILE_NAME} beside {package}, got none; reinstall rtseg")


def with_large_frames(environment: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment and name the profile in it, unless it names one of its own."""
    if profile_is_set(environment):
        return dict(environment)
    return {**environment, **dict.fromkeys(PROFILE_VARIABLES, str(large_frames_profile()))}


def profile_is_set(environment: Mapping[str, str]) -> bool:
    """Whether the environment names any Fast DDS profile."""
    return any(environment.get(variable) for variable in PROFILE_VARIABLES)


def free_domain() -> int:
    """A ROS_DOMAIN_ID that no participant on this machine uses, so that processes started with it meet nobody else.

    Raises:
        RtsegError: if there is none.
    """
    # DDS listens for discovery on port 7400 + 250 * domain; above 101 the ports reach into Linux' ephemeral range.
    candidates = list(range(1, 102))
    random.SystemRandom().shuffle(candidates)
    for domain in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7400 + 250 * domain))
            except OSError:
                continue
            return domain
    raise RtsegError("expected a free ROS domain of 1 to 101 on this machine, got none; end what runs in one")


def private_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment for processes that are to meet each other over DDS on this machine, and nobody else."""
    result = {**with_large_frames(environment), "ROS_DOMAIN_ID": str(free_domain())}
    result["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return result
