"""Training configurations, read and validated as their `model` asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rtseg.errors import ConfigError
from rtseg.lab.training.config import LaneSetConfig, RunConfig, TrainingConfig
from rtseg.lab.training.families import FAMILIES
from rtseg.settings import first_fault
from rtseg.yaml_text import read_yaml


def load_config(path: Path | str) -> RunConfig:
    """Read and validate a training configuration; a bare name means one of the bundled ones.

    Its `model` (lanes by default) says what kind of configuration it is. Of several stages it is the last, which makes
    the model.

    Raises:
        ConfigError: if there is no such file, it is no YAML, or a field is wrong; the message names the field.
    """
    return load_stages(path)[-1]


def lane_sets(path: Path | str) -> tuple[LaneSetConfig, ...]:
    """The labelled sets of a training configuration of lanes.

    Raises:
        ConfigError: as of :func:`load_config`, or if it is of no lanes.
    """
    config = load_config(path)
    if not isinstance(config, TrainingConfig):
        raise ConfigError(f"expected a configuration of lanes with sets, got {path}")
    return config.data.sets


def load_stages(path: Path | str) -> tuple[RunConfig, ...]:
    """Read and validate the stages of a training configuration, in their order.

    What stands beside `stages` holds for all of them; a mapping in a stage changes the fields that it names.

    Raises:
        ConfigError: as of :func:`load_config`, or if stages have no names of their own or go on from none before them.
    """
    file = Path(path)
    if not file.is_file():
        bundled = {config.stem: config for config in (Path(__file__).parent / "configs").glob("*.yaml")}
        if str(path) not in bundled:
            names = ", ".join(sorted(bundled))
            raise ConfigError(f"expected a training configuration file or one of {names}, got {str(path)!r}")
        file = bundled[str(path)]
    try:
        content = read_yaml(file)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"expected a YAML training configuration in {file}: {error}") from error
    source = f"the training configuration {file}"
    if not isinstance(content, dict) or "stages" not in content:
        return (parse_config(content, source),)
    common = {field: value for field, value in content.items() if field != "stages"}
    stages = content["stages"]
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        raise ConfigError(f"{source} does not validate: stages: expected a list of mappings, got {stages!r:.60}")
    parsed: list[RunConfig] = []
    for number, stage in enumerate(stages, 1):
        config = parse_config(_merged(common, stage), f"stage {number} of {source}")
        before = [each.stage for each in parsed]
        if not config.stage or config.stage in before:
            raise ConfigError(
                f"{source} does not validate: stages: expected a name of its own as stage {number}'s stage"
            )
        if before and not config.after and not config.start:
            config = config.model_copy(update={"after": before[-1]})
        if config.after and (config.start or config.after not in before):
            raise ConfigError(
                f"{source} does not validate: stages: expected {config.stage} to go on from a start, or after a stage "
                f"before it, got start {config.start!r} and after {config.after!r}"
            )
        if config.blend_with and config.blend_with not in before:
            raise ConfigError(
                f"{source} does not validate: stages: expected {config.stage} to be blended with a stage before it, "
                f"got blend_with {config.blend_with!r}"
            )
        parsed.append(config)
    return tuple(parsed)


def _merged(common: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(common)
    for field, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(field), dict)
        merged[field] = _merged(merged[field], value) if both else value
    return merged


def parse_config(content: object, source: str) -> RunConfig:
    """Validate the content of a configuration; `source` names it in errors.

    Raises:
        ConfigError: if its model is unknown or a field is wrong; the message names the field.
    """
    model = content.get("model", "lanes") if isinstance(content, dict) else "lanes"
    if model not in FAMILIES:
        raise ConfigError(f"{source} does not validate: model: expected one of {', '.join(FAMILIES)}, got {model!r}")
    try:
        return FAMILIES[model].config.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{source} does not validate: {first_fault(error)}") from error
