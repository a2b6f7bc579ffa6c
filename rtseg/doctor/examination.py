"""What this machine has, how each model would run on it, and why not faster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from rich.table import Table
from rich.text import Text

from rtseg.doctor.card import CardReport, CardTest
from rtseg.doctor.findings import Finding, listed, look_around
from rtseg.errors import BackendError, RtsegError
from rtseg.loading import load
from rtseg.page import Page, render_page
from rtseg.printing import visible
from rtseg.runtime.backends import preferred_backends
from rtseg.runtime.device import DLA, CudaDevice, device_driver_present, parse_device
from rtseg.runtime.models import bundled_models, find_model


@dataclass(frozen=True)
class PassedOver:
    """A faster way that a model does not take, and why."""

    backend: str
    device: str
    reason: str


@dataclass(frozen=True)
class Outlook:
    """How a model would run.

    Attributes:
        model: its name.
        backend: that would be used; None where none works.
        device: that it would be used on.
        facts: of that backend.
        passed_over: faster ways, best first.
        fault: why what was asked for cannot work, else None.
    """

    model: str
    backend: str | None
    device: str | None
    facts: dict[str, str]
    passed_over: tuple[PassedOver, ...]
    fault: str | None = None


@dataclass(frozen=True)
class Examination:
    """What was found, and how each model would run."""

    findings: tuple[Finding, ...]
    models: tuple[Outlook, ...]

    @property
    def faults(self) -> list[str]:
        """Why something that was asked for cannot work, one sentence each."""
        named = [
            *((finding.what, finding.fault) for finding in self.findings),
            *((m.model, m.fault) for m in self.models),
        ]
        return [f"{name}: {fault}" for name, fault in named if fault]

    @property
    def healthy(self) -> bool:
        """Whether everything that was asked for works."""
        return not self.faults

    def tables(self) -> list[Table]:
        """What was found, and how each model would run, for the terminal."""
        found = Table("", "found", title="rtseg doctor")
        for finding in self.findings:
            text = visible(finding.fault or finding.found)
            found.add_row(finding.what, Text.assemble(("fault ", "red"), text) if finding.fault else text)
        models = Table("model", "would use", "why not faster")
        rows: dict[tuple[str, str], list[str]] = {}  # most models have the same outlook
        for model in self.models:
            used = f"{model.facts.get('backend')} on {model.device}" if model.backend else ""
            reasons = [f"{ways}: {reason}" for ways, reason in _by_reason(model.passed_over)]
            why = [model.fault] if model.fault else reasons or ["this is the fastest"]
            rows.setdefault((used, "\n".join(map(visible, why))), []).append(visible(model.model))
        for (used, told), names in rows.items():
            models.add_row(Text("\n".join(names)), used or Text("fault", "red"), Text(told))
        return [found, models]

    def json(self) -> str:
        """Everything, for a program."""
        content = {
            "healthy": self.healthy,
            "faults": self.faults,
            "findings": [asdict(finding) for finding in self.findings],
            "models": [asdict(model) for model in self.models],
        }
        return json.dumps(content, indent=1)

    def html(self) -> str:
        """One page that needs nothing beside it."""
        rows = [(one.model, one.facts.get("backend", "none works"), one.device or "") for one in self.models]
        running = sum(one.backend is not None for one in self.models)
        alike: dict[tuple[tuple[str, str], ...], list[str]] = {}  # most models have the same outlook
        for one in self.models:
            alike.setdefault(tuple(_by_reason(one.passed_over)), []).append(one.model)
        slower = [
            (f"Why {', '.join(names)} {'is' if len(names) == 1 else 'are'} no faster", list(reasons))
            for reasons, names in alike.items()
        ]
        return render_page(
            Page(
                title="rtseg doctor",
                subtitle="What this machine has, and how each model runs on it",
                figures=[("models that run", f"{running} of {len(rows)}"), ("faults", str(len(self.faults)))],
                notes=self.faults,
                tables=[("Models", ("model", "would use", "on"), rows)],
                lists=[*slower, ("This machine", listed(self.findings))],
            )
        )


def examine(models: Sequence[str] = (), device: str = "auto", backend: str = "auto") -> Examination:
    """Look at the machine, then run each model on a blank image in the fastest way that works.

    Where there is a card and TensorRT, engines that are not in the cache are compiled, as they would be at first use.

    Args:
        models: names or folders; every bundled model by default.
        device: ``auto``, or what has to work: ``cpu``, ``cuda``, ``cuda:N`` or ``dla``.
        backend: ``auto``, or what has to work.
    """
    findings = look_around()
    names = models or bundled_models()
    return Examination(tuple(findings), tuple(_outlook(str(name), device, backend) for name in names))


def examine_card(model: str, device: str = "auto", backend: str = "auto") -> CardReport:
    """Test a card with a model on it, and the same on the CPU, both in float.

    Args:
        model: name or folder.
        device: ``auto`` or ``cuda`` (the first card), or ``cuda:N``.
        backend: ``auto``, or which has to run.

    Raises:
        BackendError: if there is no such card.
        ModelError: if there is no such model.
    """
    place = "cuda" if device == "auto" else device
    number = parse_device(place)
    if number is None or place == DLA:
        raise BackendError(f"expected a card to test, cuda or cuda:N, got {device}")
    card = CudaDevice(number)
    network = next((file.file for file in find_model(model).card.files if file.precision == "fp32"), None)
    test = CardTest(
        card,
        lambda: load(model, device=place, backend=backend, network=network),
        lambda: load(model, device="cpu", network=network),
    )
    return replace(test.run(), findings=tuple(look_around()))


def _outlook(name: str, device: str, backend: str) -> Outlook:
    try:
        model = find_model(name)
    except RtsegError as error:
        return Outlook(name, None, None, {}, (), str(error))
    passed: list[PassedOver] = []
    cardless = device == "auto" and not device_driver_present()
    for way in _ways(device, backend):
        if cardless and way[1] == "cuda":  # as in loading; what to install for a card that is not there is no news
            passed.append(PassedOver(*way, "this machine has no NVIDIA driver"))
            continue
        try:
            pipeline = load(name, device=way[1], backend=way[0])
            try:
                pipeline.warm_up()
                facts = pipeline.backend
            finally:
                pipeline.close()
        except RtsegError as error:
            passed.append(PassedOver(*way, str(error)))
            continue
        # What loading left behind is in `fallbacks`: the backend that was asked for may not be the one that ran.
        if pipeline.fallbacks:
            passed.append(PassedOver(*way, "; ".join(pipeline.fallbacks)))
            continue
        return Outlook(model.card.name, way[0], way[1], facts, tuple(passed))
    reasons = "; ".join(f"{names}: {reason}" for names, reason in _by_reason(passed))
    return Outlook(model.card.name, None, None, {}, tuple(passed), reasons or "no backend was asked for that exists")


def _ways(device: str, backend: str) -> list[tuple[str, str]]:
    """(backend, device) in the order in which loading a model tries them."""
    places = ["cuda", "cpu"] if device == "auto" else [device]
    names = {"cpu": preferred_backends("cpu"), DLA: ("tensorrt",)}
    ways = [(name, place) for place in places for name in names.get(place, preferred_backends("cuda"))]
    if backend == "auto":
        return ways
    # One that is not preferred anywhere, or that nobody knows, is tried all the same: the answer says what is wrong.
    return [way for way in ways if way[0] == backend] or [(backend, places[-1])]


def _by_reason(passed: Sequence[PassedOver]) -> list[tuple[str, str]]:
    """Ways with the same reason together, in order."""
    reasons: dict[str, list[str]] = {}
    for way in passed:
        reasons.setdefault(way.reason, []).append(f"{way.backend} on {way.device}")
    return [(", ".join(ways), reason) for reason, ways in reasons.items()]
