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


def private_mib(pid: int) -> float:
    """Resident memory of a process that no other maps, which Fast DDS' shared frames are not."""
    rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
    words = [line.split() for line in rolled.splitlines() if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(int(each[1]) for each in words) / 1024


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
