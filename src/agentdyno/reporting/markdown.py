"""Tables for pages in Markdown, and pages of which a part is written by a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """A table; a cell that is None or empty has no value."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = ((cell or "").replace("|", "\\|") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(line.replace("|  |", "| |") for line in lines) + "\n"


def rewritten(page: str, begin: str, end: str, text: str) -> str | None:
    """A page with a text between two marks of it; None where it has not both of them."""
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    return f"{before}{begin}\n{text}{end}{after}" if found_begin and found_end else None
