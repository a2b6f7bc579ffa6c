"""The design that all pages have, the desk's reports and the doctor's; each page is one file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """What every page may show; parts left empty, and tables without rows, are left out.

    Attributes:
        title: of the page.
        subtitle: one line below it.
        figures: the few numbers that matter most, (label, value).
        notes: drops, faults and other things to know, one sentence each.
        tables: (title, header, rows) of further figures.
        lists: (title, facts) of what is told by name: (name, value).
        facts: what ran on what: (name, value).
    """

    title: str
    subtitle: str = ""
    figures: Facts = ()
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    lists: Sequence[tuple[str, Facts]] = ()
    facts: Facts = ()


def render_page(page: Page) -> str:
    """The page as HTML that needs nothing beside it: light and dark, for phones, and without a script."""
    return environment().get_template("page.html").render(data=page)


def environment(*loaders: jinja2.BaseLoader) -> jinja2.Environment:
    """Templates that may extend ``page.html`` and use ``parts.html``; whatever they show is escaped.

    Args:
        loaders: of templates beside those.
    """
    own = jinja2.PackageLoader("rtseg.page", ".")
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*loaders, own]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style: dict[str, Any] = {"style": own.get_source(made, "page.css")[0], "digest": ""}
    made.globals.update(style)
    return made
