"""What docs/fleet.md and the cluster files say holds: recipes run, columns are those of the rows, manifests fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
import ray
import yaml

from rtseg.lab.fleet.rows import SCHEMA, SCHEMA_VERSION
from rtseg.lab.fleet.settings import JobSettings
from tests.lab.fleet.drives import write_fleet
from tests.lab.fleet.test_replay import replay

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/fleet.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def october(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``october`` is a job."""
    folder = tmp_path_factory.mktemp("docs")
    sources, model = write_fleet(folder, 2, frames=30)
    night = Path(sources[0]).rename(folder / "night.mp4")
    replay([str(night), sources[1]], folder / "october", model)
    return folder


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_queries_run(october: Path) -> None:
    queries = [query for block in blocks("sql") for query in block.split(";") if query.strip()]
    assert len(queries) == 3
    for query in queries:
        rows = duckdb.sql(query.replace("'october/", f"'{october}/october/")).fetchall()
        assert rows
        assert all(value is not None for row in rows for value in row), query


def test_the_pandas_recipe_runs(october: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(october)
    for block in blocks("python"):
        exec(block, {})
    assert "drive_1.mp4" in capsys.readouterr().out


def test_every_column_is_described() -> None:
    table = PAGE[PAGE.index("### The rows") : PAGE.index("With DuckDB")]
    names = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    described = re.findall(r"`(\w+)`", "".join(names))
    assert described == SCHEMA.names
    assert f"schema {SCHEMA_VERSION}" in table


def test_the_manifest_is_a_job_that_this_version_of_ray_runs() -> None:
    job = yaml.safe_load((ROOT / "examples/kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    assert spec["rayVersion"] == ray.__version__
    assert spec["authOptions"] == {"mode": "token"}, "the pod that submits the job needs the token, too"
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    (cores,) = spec["workerGroupSpecs"]
    words = job["spec"]["entrypoint"].split()
    asked = {name: words[words.index(name) + 1] for name in ("--workers", "--threads", "--model")}
    each = int(cores["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert int(asked["--workers"]) * int(asked["--threads"]) == each * cores["replicas"]
    assert asked["--model"] == JobSettings().model


def test_the_cluster_file_names_what_ray_up_wants() -> None:
    cluster = yaml.safe_load((ROOT / "examples/ray_cluster.yaml").read_text())
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(cluster, json.loads(schema.read_text()))
