"""Pages of the site that are made from the code, so that they cannot be out of date; run by mkdocs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from rtseg_ros import parameters

from rtseg.cli import app
from rtseg.runtime.card import ModelCard

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    made = {
        "api.md": api(),
        "benchmarks.md": benchmarks(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "commands.md": commands(),
        "models.md": models(),
        "parameters.md": ros(),
        "tutorials/own_grouping.md": own_grouping(),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of the site, into the repository, become the names of what they lead to, and names of files titles."""

    def replaced(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = (Path(page.file.src_uri).parent / target.partition("#")[0]).as_posix()
        # The change log and the table of topics lie at the repository's root.
        leads_out = path.startswith(("../", "docs/")) or page.file.src_uri == "changelog.md"
        inside = target.removeprefix("docs/") if leads_out else target
        file = files.get_file_from_path(inside.partition("#")[0] if leads_out else path)
        if file and text.endswith(".md"):
            title = re.search(r"^# (.*)", file.content_string, re.MULTILINE)  # some begin with a comment
            text = title[1] if title else text
        if file or not leads_out:
            return f"[{text}]({inside})"
        return f"{text} (`{target.removeprefix('../')}`)" if text != target else f"`{target}`"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^):]+)\)", replaced, markdown)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Empty corners of tables are no headings, and the search has a name."""
    output = output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
    return re.sub(r"<th([^>]*)></th>", r"<td\1></td>", output)


def api() -> str:
    """Every public name of every public module."""
    surface: dict[str, dict[str, str]] = json.loads((ROOT / "tests" / "api_surface.json").read_text(encoding="utf-8"))
    text = [
        "# API",
        "What is named here stays from release to release, or its change stands under *Changed*; images are (H, W, 3) "
        "uint8 BGR, times in results are milliseconds, stamps nanoseconds, points (x, y) in pixels.",
    ]
    documented: set[str] = set()
    for module, names in surface.items():
        here = {name for name in names if (f"{module}.{name}") and name not in documented}
        if not here:
            continue
        documented |= here
        text.append(f"## {module}")
        text += [f"::: {module}.{name}" for name in sorted(here)]
    return "\n\n".join(text) + "\n"


def commands() -> str:
    """Every command with its arguments and options."""
    text = [
        "# Commands",
        "Every command that reports takes `--json` (`rtseg bench --json -`): one document on standard output and "
        "nothing else there. Progress goes to standard error: bars on a terminal, elsewhere a line now and then "
        "of what takes long. `--quiet` (`-q`), before or after the command's name, leaves nothing but errors, warnings "
        "and JSON.",
        "| exit code | |\n|---|---|\n| 0 | done |\n"
        "| 1 | done, but what was asked for does not hold: a model cannot run, a gate fails, recordings are damaged |\n"
        "| 2 | wrong input, told in one sentence |\n| 130, 143 | ended by a signal |",
    ]
    for name, command in _commands(typer.main.get_command(app), "rtseg"):
        rows = [
            _option(parameter)
            for parameter in command.params
            if parameter.name not in ("help", "install_completion", "quiet")
        ]
        text.append(f"## `{name}`")
        text.append(" ".join((command.help or "").split()))
        if any(rows):
            text.append("\n".join(["| option | |", "|---|---|", *filter(None, rows)]))
    return "\n\n".join(text) + "\n"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    for child in getattr(command, "commands", {}).values():
        full = f"{name} {child.name}"
        if not hasattr(child, "commands") or child.invoke_without_command:
            yield full, child
        yield from _commands(child, full)


def _option(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.name.upper()}`"
    else:
        name = ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))
    said = getattr(parameter, "help", None) or ""
    default = parameter.default
    if not callable(default) and isinstance(default, str | int | float | Path) and not isinstance(default, bool):
        said += f" Default: `{default}`."
    return f"| {name} | {said.replace('|', '&#124;').strip()} |" if parameter.name != "show_completion" else ""


def benchmarks() -> str:
    """How fast the models are, beside plain code, from the results that `rtseg bench` and bench/ wrote."""
    results = ROOT / "bench" / "results"
    files = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*.json")]
    files = sorted((each for each in files if "runs" in each), key=lambda each: each["date"])
    cards = [each for each in files if each["runs"][0]["device_to_device"]]
    found = [each for each in files if each not in cards][-1]
    live = json.loads((results / "node-stream-2-cores.json").read_text(encoding="utf-8"))
    peers = []
    for run in found["runs"]:
        name = _measured(run)
        for peer in run["peers"]:
            if peer["total"] is not None:
                longer = peer["total"]["p50"] / run["host_to_host"]["p50"]
                peers.append(f"| {name} | {peer['name']} | {peer['total']['p50']:.1f} | {longer:.1f} |")
    wait = live["stamp_to_mask_ms"]
    text = [
        "# How fast",
        f"Measured by `rtseg bench --compare` on {found['hardware']}, on {found['date'][:10]} (commit "
        f"`{found['commit']}`, ONNX Runtime {found['versions']['onnxruntime']}); what has become faster since is under "
        "[changes](changelog.md). The same command gives these figures of your machine, and `rtseg bench compare` sets "
        "results side by side on a page. No Jetson and no TensorRT has been measured.",
        _rates(found),
        "*All* is from an image in memory to its result: preprocessing, network, grouping, ids.",
        "## Beside plain code",
        "The same networks in the same run, with OpenCV and NumPy around them as one would write it:",
        "| model | peer | p50 ms | times as long as rtseg |\n|---|---|---:|---:|\n" + "\n".join(peers),
        *(text for each in cards for text in (f"## On {each['hardware']}", _on_card(each))),
        "## In a ROS 2 node",
        f"`python bench/node_stream.py`, {live['model']} on {live['cores']} cores under a camera of "
        f"{live['rate_hz']:.0f} frames a second for {live['seconds']:.0f} s, over DDS: {live['masks']} masks of "
        f"{live['sent']} frames, from stamp to mask {wait['p50']:.0f} ms (p99 {wait['p99']:.0f}). An hour under "
        "a camera that is not always sound is in [what the nodes tell](ros.md); [fleets](fleet.md) and "
        "[grouping](grouping.md) have their own figures.",
    ]
    return "\n\n".join(text) + "\n"


def _rates(found: dict[str, Any]) -> str:
    rows = []
    for run in found["runs"]:
        size, whole = run["size"], run["host_to_host"]
        infer = next(stage["p50"] for stage in run["stages"] if stage["stage"] == "infer")
        rates = f"{run['sequential_fps']:.0f} | {run['streamed_fps']:.0f}"
        times = f"{infer:.1f} | {whole['p50']:.1f} | {whole['p99']:.1f}"
        rows.append(f"| {_measured(run)} | {size[1]}x{size[0]} | {rates} | {times} |")
    return (
        "| model | frames | a second, one by one | a second, streamed | network, ms | all, p50 ms | all, p99 ms |\n"
        "|---|---|---:|---:|---:|---:|---:|\n" + "\n".join(rows)
    )


def _on_card(found: dict[str, Any]) -> str:
    backend = found["runs"][0]["backend"]
    on_card = ", ".join(f"{run['device_to_device']['p50']:.2f}" for run in found["runs"])
    return (
        f"By {backend['backend']} in {backend['precision']}, on {found['date'][:10]}, beside "
        f"{found['facts']['processor']}:\n\n{_rates(found)}\n\n"
        f"Preprocessing, network and grouping take {on_card} ms of it on the card; the rest is copies and the "
        "host's share, lines and ids. More is in [on a GPU](gpu.md)."
    )


def _measured(run: dict[str, Any]) -> str:
    """A run's model, and its backend where it needs an extra; a network that is another by now is told."""
    network = ROOT / "engines" / run["model"] / run["network"]
    same = sha256(network.read_bytes()).hexdigest() == run["sha256"]
    backend = ", OpenVINO" if run["backend"]["backend"].startswith("OpenVINO") else ""
    return f"{run['model']}, {run['precision']}{backend}" + ("" if same else ", as it was then")


def models() -> str:
    """The models that were released, from their cards."""
    cards = [ModelCard.load(path) for path in sorted((ROOT / "engines").glob("*/card.yaml"))]
    text = [
        "# Models",
        "`lanes-lite` and `instances-lite` come with the package; the others by `rtseg models get NAME`, from a "
        "folder, a file, a URL or an index. Scores are those of the cards, which name the commands.",
        "| model | finds | input | what it is |\n|---|---|---|---|",
    ]
    for card in cards:
        size = f"{card.input.width}x{card.input.height}"
        text[-1] += f"\n| [{card.name}](#{card.name}) | {card.task} | {size} | {card.summary} |"
    for card in cards:
        text.append(f"## {card.name}")
        text.append(f"{card.summary}. Licence: {card.licence}.")
        text.append("Trained on: " + "; ".join(card.training.data) + f". {card.training.notes}")
        rows = [f"| {s.dataset} | {s.metric} | {s.precision} | {s.value:.4f} |" for s in card.scores]
        text.append("\n".join(["| data set | metric | network | value |", "|---|---|---|---:|", *rows]))
    return "\n\n".join(text) + "\n"


def ros() -> str:
    """Topics, and parameters with ranges as the nodes declare them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start = readme.index("| topic | type | |")
    text = [
        "# ROS interface",
        "## Topics",
        readme[start : readme.index("\n\n", start)],
        "Nothing is computed for a topic that nobody reads. In `perception` the topics stand under `lanes/` and "
        "`instances/`.",
    ]
    kinds = {
        "lanes": parameters.LaneParameters,
        "instances": parameters.InstanceParameters,
        "perception": parameters.PerceptionParameters,
    }
    for node, kind in kinds.items():
        rows = []
        for field in fields(kind):
            setting = parameters.setting_of(field)
            limits = "" if setting.low is None else f"{setting.low:.10g} to {setting.high:.10g}"
            when = "at once" if setting.live else "when configured"
            default = json.dumps(field.default)
            rows.append(f"| `{field.name}` | `{default}` | {limits} | {when} | {setting.text} |")
        text.append(f"## Parameters of `{node}`")
        head = "| parameter | default | range | a change takes effect | |\n|---|---|---|---|---|\n"
        text.append(head + "\n".join(rows))
    return "\n\n".join(text) + "\n"


def own_grouping() -> str:
    """The example that the tests run, with what it says of itself."""
    source = (ROOT / "examples" / "own_grouping.py").read_text(encoding="utf-8")
    return f"# A grouping method of your own\n\nThe tests run this program as it stands.\n\n```python\n{source}```\n"
