"""Settings: what is refused, in one sentence that names the field."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from rtseg.errors import ArgumentError
from rtseg.grouping import GraphMergeSettings, SoloSettings
from rtseg.instances import InstanceTrackerSettings
from rtseg.lanes import LaneDecoderSettings, LaneTrackerSettings
from rtseg.settings import Settings, first_fault

EVERY = (LaneDecoderSettings, LaneTrackerSettings, InstanceTrackerSettings, SoloSettings, GraphMergeSettings)


class Inner(Settings):
    """Settings inside others."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Outer(Settings):
    """Settings that hold others."""

    inner: Inner = Inner()
    count: int = 1


@given(st.floats(0, 1), st.integers())
def test_settings_are_what_they_were_given_and_stay_so(share: float, count: int) -> None:
    made = Outer(inner=Inner(share=share), count=count)
    assert (made.inner.share, made.count) == (share, count)
    assert Outer.model_validate(made.model_dump()) == made
    assert made.replaced(count=3).inner == made.inner
    with pytest.raises(ValidationError, match="frozen"):
        made.count = 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"inner": {"share": 2.0}}, r"Outer: inner\.share: .* got 2\.0"),
        ({"inner": {"shares": 0.5}}, r"Outer: inner\.shares"),
        ({"count": "many"}, "Outer: count"),
        ({"counts": 1}, "Outer: counts"),
    ],
)
def test_the_whole_path_to_a_wrong_field_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ArgumentError, match=named) as caught:
        Outer(**values)
    assert "\n" not in str(caught.value)
    with pytest.raises(ArgumentError, match=named):
        Outer().replaced(**values)
    with pytest.raises(ValidationError) as invalid:
        Outer.model_validate(values)
    assert first_fault(invalid.value, "card", "grouping").startswith("card.grouping.")


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0])
def test_no_number_is_nan_infinite_or_negative(kind: type[Settings], value: float) -> None:
    needed = {"super_classes": ((1,),)} if kind is GraphMergeSettings else {}
    numbers = [name for name, field in kind(**needed) if isinstance(field, int | float) and not isinstance(field, bool)]
    assert numbers
    for name in numbers:
        with pytest.raises(ArgumentError, match=name):
            kind(**{**needed, name: value})
