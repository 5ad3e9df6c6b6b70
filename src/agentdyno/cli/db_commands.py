"""`dyno db upgrade|check|copy`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentdyno.cli.edges import current_home
from agentdyno.cli.printing import Json, passing_line, print_json, print_page

if TYPE_CHECKING:
    from agentdyno.store.address import LedgerAddress
    from agentdyno.store.checking import TableState
    from agentdyno.store.copying import Copied, Progress
    from agentdyno.store.ledger import Ledger

db_app = typer.Typer(help="Look after the ledger: the database of all sessions.", no_args_is_help=True)
_EVERY_S = 2.0
_SHOWN_DIGITS = 12


@db_app.command()
def upgrade(as_json: Json = False) -> None:
    """Bring the ledger's schema up to date.

    Every other command does it too.
    """
    from agentdyno.store.ledger import Ledger

    with contextlib.closing(Ledger.at(current_home().ledger)) as ledger:
        done = ledger.upgrade()
    if as_json:
        print_json({"ledger": str(ledger.address), **done._asdict()})
    elif done.before is None:
        typer.echo(f"{ledger.address} is made, at schema {done.after}")
    elif done.before == done.after:
        typer.echo(f"{ledger.address} is at schema {done.after} already")
    else:
        typer.echo(f"{ledger.address} was at schema {done.before}, and is now at {done.after}")


@db_app.command()
def check(as_json: Json = False) -> None:
    """Check that the ledger is whole, and digest its tables.

    The schema must be the defined one, and every reference must point somewhere; exit code 1 when something is wrong.
    Two ledgers hold the same when all their digests are equal.
    """
    from agentdyno.store.checking import check as check_ledger

    with _existing(current_home().ledger) as ledger, passing_line("reading the ledger"):
        found = check_ledger(ledger)
    if as_json:
        tables = [state._asdict() for state in found.tables]
        print_json({"ledger": str(ledger.address), **found._asdict(), "tables": tables})
    else:
        if found.tables:
            _print_states(found.tables)
        for fault in found.faults:
            typer.echo(fault)
        typer.echo(f"{ledger.address}: {'not whole' if found.faults else 'whole'}")
    if found.faults:
        raise typer.Exit(1)


@db_app.command("copy")
def copy_command(
    source: Annotated[
        str | None, typer.Option("--from", help="Ledger to copy: a URL or a file; by default the home's own file.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--to", help="URL of the PostgreSQL ledger; by default DYNO_DATABASE_URL.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a ledger into PostgreSQL, and verify every row.

    Broken off, it goes on when it is called again. Stop the stand first: what changes meanwhile is not copied.
    """
    from agentdyno.store.copying import copy_ledger
    from agentdyno.store.ledger import Ledger

    came_from, goes_to = _source(source), _target(target)
    _require_stand_down(came_from)
    with (
        _existing(came_from) as here,
        contextlib.closing(Ledger.at(goes_to)) as there,
        _progress(quiet=as_json) as progress,
    ):
        copied = copy_ledger(here, there, progress)
    verified = all(table.verified for table in copied)
    if as_json:
        tables = [{**table._asdict(), "verified": table.verified} for table in copied]
        print_json({"from": str(came_from), "to": str(goes_to), "verified": verified, "tables": tables})
    else:
        _print_copied(copied)
        typer.echo(f"{goes_to}: {'every row is there as it was' if verified else 'NOT VERIFIED, see above'}")
    if not verified:
        raise typer.Exit(1)


# ── which ledger ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _source(named: str | None) -> LedgerAddress:
    from agentdyno.store.address import ledger_address

    if named is None:
        return current_home().ledger_file
    return ledger_address(named, "--from") if "://" in named else Path(named)


def _require_stand_down(source: LedgerAddress) -> None:
    """Raise UserError while a stand may write to the home's own file: its cursors would differ at the next copy."""
    from agentdyno.core.errors import UserError
    from agentdyno.stand.state import running_stand

    home = current_home()
    ours = isinstance(source, Path) and source.absolute() == home.ledger_file.absolute()
    if ours and running_stand(home) is not None:
        raise UserError("a stand is up, and writes to this ledger", "stop it first: `dyno down`")


def _target(named: str | None) -> LedgerAddress:
    import os

    from agentdyno.core.errors import UserError
    from agentdyno.store.address import ledger_address, named_ledger

    address = named_ledger(os.environ) if named is None else ledger_address(named, "--to")
    if address is None:
        raise UserError("no ledger is named to copy to", "name one by --to or, with a password, by DYNO_DATABASE_URL")
    return address


@contextlib.contextmanager
def _existing(address: LedgerAddress) -> Iterator[Ledger]:
    """A ledger that is there. Raises UserError for a file that is not."""
    import logging

    from agentdyno.core.errors import UserError
    from agentdyno.store.ledger import Ledger

    # After Ctrl-C in the midst of a statement, SQLAlchemy would complain of not having been able to end it.
    logging.getLogger("sqlalchemy.pool").addHandler(logging.NullHandler())
    if isinstance(address, Path) and not address.exists():
        raise UserError(f"there is no ledger {address}", "the first command that needs one makes it")
    with contextlib.closing(Ledger.at(address)) as ledger:
        yield ledger


# ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────────────


def _progress(*, quiet: bool) -> AbstractContextManager[Callable[[Progress], object]]:
    """What tells, on standard error, how far a copy is."""
    if quiet:
        return contextlib.nullcontext(lambda _: None)
    return _live() if sys.stderr.isatty() else contextlib.nullcontext(_lines())


@contextlib.contextmanager
def _live() -> Iterator[Callable[[Progress], object]]:
    """One bar on a terminal: rows of all, rows a second, time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from agentdyno.cli.printing import people_console

    rate = TextColumn("{task.fields[rate]:,.0f} rows/s, left")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    began_s = time.monotonic()
    with Bar(*columns, console=people_console(stderr=True), transient=True) as bar:
        task = bar.add_task("copying", total=None, rate=0.0)

        def told(progress: Progress) -> None:
            done, total, rate = progress.done_rows, progress.total_rows, _rate(progress, began_s)
            bar.update(task, description=progress.doing, completed=done, total=total, rate=rate)

        yield _now_and_then(told, every_s=0.1)


def _lines() -> Callable[[Progress], object]:
    """Now and then a line: rows of all, rows a second, time left."""
    began_s = time.monotonic()

    def told(progress: Progress) -> None:
        rate = _rate(progress, began_s)
        left_s = (progress.total_rows - progress.done_rows) / rate
        typer.echo(
            f"{progress.doing}: {progress.done_rows:,} of {progress.total_rows:,} rows, "
            f"{rate:,.0f} rows/s, {left_s:.0f} s left",
            err=True,
        )

    return _now_and_then(told, every_s=_EVERY_S)


def _now_and_then(tell: Callable[[Progress], object], every_s: float) -> Callable[[Progress], object]:
    """Tell once in so long at most, and of the last row in any case."""
    told_s = time.monotonic()

    def passing(progress: Progress) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= every_s or progress.done_rows == progress.total_rows:
            told_s = now_s
            tell(progress)

    return passing


def _rate(progress: Progress, began_s: float) -> float:
    return progress.done_rows / max(time.monotonic() - began_s, 1e-6)


def _print_states(states: tuple[TableState, ...]) -> None:
    from agentdyno.reporting.tables import Column, plain_table

    columns = (Column("table"), Column("rows", "right"), Column("digest"))
    print_page(plain_table(columns, [(state.table, f"{state.rows:,}", _short(state.digest)) for state in states]))


def _print_copied(copied: tuple[Copied, ...]) -> None:
    from agentdyno.reporting.tables import Column, plain_table

    columns = (Column("table"), Column("rows", "right"), Column("written now", "right"), Column("digest"))
    rows = [
        (
            table.table,
            f"{table.rows:,}",
            f"{table.written:,}",
            _short(table.digest) + ("" if table.verified else f", there {_short(table.digest_there)}"),
        )
        for table in copied
    ]
    print_page(plain_table(columns, rows))


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHOWN_DIGITS]
