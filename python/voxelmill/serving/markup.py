"""Pieces of HTML that the sections of the report share."""

from __future__ import annotations

import html
from typing import Any


class Markup(str):
    """HTML that is safe as it is."""


def table(head: tuple, rows: list, numeric: int = 99) -> str:
    """Columns from `numeric` on stand right; what is no Markup is escaped."""

    def cell(tag: str, i: int, value: Any) -> str:
        shown = value if isinstance(value, Markup) else html.escape(str(value))
        return f"<{tag}{' class=n' if i >= numeric else ''}>{shown}</{tag}>"

    top = "".join(cell("th", i, h) for i, h in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, v) for i, v in enumerate(row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
