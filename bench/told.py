"""What the benches of nodes have in common: how a process is measured, and how figures are told."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """How long processors have worked for a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def anonymous_mib(pid: int) -> float:
    """Resident memory that a process has written for itself.

    Pages of libraries are none of it, which are private or shared by who else runs at the time, nor is Fast DDS' shared
    memory.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) / 1024


def machine() -> dict[str, object]:
    """What the figures were measured on, and what else kept it busy."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "load_average": os.getloadavg()[0],
    }


def tell(result: Mapping[str, object], out: Path | None) -> None:
    """Print figures as JSON, and write them to a file if one is given."""
    text = json.dumps(result, indent=2)
    print(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
