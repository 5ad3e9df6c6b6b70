"""What commands print: JSON for machines, tables for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def moment(at_us: int | None) -> str:
    """A time for people: UTC, to the second."""
    if at_us is None:
        return "–"
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
