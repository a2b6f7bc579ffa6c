"""The base of everything that can be set, in a file or by a caller, and of what is kept in files as it was found."""

from __future__ import annotations

from reprlib import Repr
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtseg.errors import ArgumentError

NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Probability
_SHORT = Repr()  # YAML may hold in a kilobyte what would be written as gigabytes
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxstring, _SHORT.maxother = 2, 8, 8, 160, 160
Own = TypeVar("Own", bound="Settings")


class Settings(BaseModel):
    """Nothing unknown, nothing infinite or NaN, nothing changed once it is made.

    Raises:
        ArgumentError: naming the first field that is unknown or out of its range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ArgumentError(f"{type(self).__name__}: {first_fault(error)}") from error

    # Settings inside others are validated with them, so that errors name the whole path to a field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def replaced(self: Own, **changes: Any) -> Own:
        """Give these settings with some of them changed.

        Raises:
            ArgumentError: as when they are made.
        """
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)


def first_fault(error: ValidationError, *parents: str) -> str:
    """Say in one sentence what is wrong first: the field, below `parents`, what was expected and what came."""
    first = error.errors()[0]
    field = ".".join((*parents, *(str(part) for part in first["loc"])))
    message = first["msg"].removeprefix("Value error, ")
    got = "" if isinstance(first["input"], dict | BaseModel) else f", got {_SHORT.repr(first['input'])}"
    return f"{field}: {message}{got}" if field else f"{message}{got}"
