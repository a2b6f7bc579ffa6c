"""Training configurations, read and validated as their `model` asks for."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from rtseg.errors import ConfigError
from rtseg.lab.training.config import RunConfig
from rtseg.lab.training.families import FAMILIES
from rtseg.settings import first_fault


def load_config(path: Path | str) -> RunConfig:
    """Read and validate a training configuration; a bare name means one of the bundled ones.

    Its `model` (lanes by default) says what kind of configuration it is.

    Raises:
        ConfigError: if there is no such file, it is no YAML, or a field is wrong; the message names the field.
    """
    file = Path(path)
    if not file.is_file():
        bundled = Path(__file__).parent / "configs" / f"{path}.yaml"
        if not bundled.is_file():
            names = ", ".join(sorted(config.stem for config in bundled.parent.glob("*.yaml")))
            raise ConfigError(f"expected a training configuration file or one of {names}, got {str(path)!r}")
        file = bundled
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"expected a YAML training configuration in {file}: {error}") from error
    return parse_config(content, f"the training configuration {file}")


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
