"""Plain tables for people: as wide as their content, without what no row has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from agentdyno.reporting.wording import harmless

_PROSE_WIDTH = 24
_GAP_WIDTH = 2


class Column(NamedTuple):
    """A column's heading, and how its cells are set."""

    heading: str
    justify: Literal["left", "right"] = "left"
    optional: bool = False
    """Left out when no row has a value."""
    prose: bool = False
    """Wrapped where a terminal is narrow. All else, names above all, stays in one piece."""


@dataclass(frozen=True)
class PlainTable:
    """A table that is squeezed no further than its `least_width`: a narrower terminal goes on in its next line."""

    table: Table
    least_width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's way of asking what to print."""
        yield from console.render(self.table, options.update_width(max(options.max_width, self.least_width)))


def plain_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str | None]], title: str | None = None
) -> PlainTable:
    """A table of literal texts, harmless to a terminal. A cell that is None has no value, and stays empty."""
    cells = [tuple(None if text is None else harmless(text) for text in row) for row in rows]
    shown = [
        place
        for place, column in enumerate(columns)
        if not column.optional or any(row[place] is not None for row in cells)
    ]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title=title, title_justify="left")
    least_width = 0
    for place in shown:
        column = columns[place]
        width = max(cell_len(text) for text in (*column.heading.splitlines(), *(row[place] or "" for row in cells)))
        least_width += (min(width, _PROSE_WIDTH) if column.prose else width) + _GAP_WIDTH
        table.add_column(column.heading, justify=column.justify, no_wrap=not column.prose, overflow="fold")
    for row in cells:
        table.add_row(*(Text(row[place] or "") for place in shown))
    return PlainTable(table, least_width)


class Group(NamedTuple):
    """Rows that belong together, and what they are of."""

    heading: str
    rows: Sequence[Sequence[str]]


def grouped_table(columns: Sequence[Column], groups: Iterable[Group]) -> PlainTable:
    """Rows below what they are of, which has a line to itself: so names, which are long, take no columns."""
    groups = [
        Group(harmless(group.heading), [[harmless(cell) for cell in row] for row in group.rows]) for group in groups
    ]
    headings = [column.heading for column in columns]
    rows = [headings, *(row for group in groups for row in group.rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    lines = [_indented(columns, widths, headings), "─" * (sum(widths) + _GAP_WIDTH * len(widths))]
    for group in groups:
        lines += [group.heading, *(_indented(columns, widths, row) for row in group.rows)]
    table = Table.grid()
    table.add_column(no_wrap=True, overflow="fold")
    for line in lines:
        table.add_row(Text(line))
    return PlainTable(table, max(map(cell_len, lines)))


def _indented(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    gap = " " * _GAP_WIDTH
    padded = (
        cell + " " * (width - cell_len(cell)) if column.justify == "left" else " " * (width - cell_len(cell)) + cell
        for column, width, cell in zip(columns, widths, cells, strict=True)
    )
    return f"{gap}{gap.join(padded)}".rstrip()
