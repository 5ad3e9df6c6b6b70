"""Every SELECT that the faces and reports use, but for those of `accounts`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from agentdyno.core.records import CONFIGURED, Credential, MetricRollup, Request, Session, UsageSource
from agentdyno.core.side_calls import NO_INFERENCE
from agentdyno.store.accounts import Uncounted, count_where, unknowns, whole_sum
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import configured_of, record_of
from agentdyno.store.session_rows import requests_in

R = TypeVar("R")
_KEYS_AT_ONCE = 500
"""A statement takes so many values, or fewer."""


class SessionTotals(NamedTuple):
    """Sums over a session's inference requests, side calls included; None where no request has the figure."""

    session_id: str
    requests: int
    ok: int
    work_ok: int
    """Those that succeeded and were the harness's work: a title alone is no success."""
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    by_proxy: int = 0
    """Requests whose tokens are LiteLLM's, not the provider's."""
    estimated: int = 0
    """Requests whose tokens are an estimate."""
    unpriced: int = 0
    """Requests that may have used tokens, and whose cost is unknown."""
    uncounted: Uncounted = Uncounted()
    price_tables: tuple[str, ...] = ()
    """Versions of the price tables that the costs are by, sorted."""


def sessions(ledger: Ledger, *, experiment: str | None = None, only_open: bool = False) -> tuple[Session, ...]:
    """Sessions, oldest first."""
    table = ledger.tables["session"]
    query = sa.select(table).order_by(table.c.session_id)
    if experiment is not None:
        query = query.where(table.c.experiment == experiment)
    if only_open:
        query = query.where(table.c.ended_at_us.is_(None))
    with ledger.read() as connection:
        return tuple(record_of(Session, row) for row in connection.execute(query).mappings())


def sessions_with_virtual_keys(ledger: Ledger, ended_since_us: int) -> tuple[Session, ...]:
    """Sessions with keys of LiteLLM deployments that are open, or ended since then; oldest first."""
    table, issued = ledger.tables["session"], ledger.tables["credential"]
    query = (
        sa.select(table)
        .where(table.c.session_id.in_(sa.select(issued.c.session_id).where(issued.c.issuer == "litellm")))
        .where(table.c.ended_at_us.is_(None) | (table.c.ended_at_us >= ended_since_us))
        .order_by(table.c.session_id)
    )
    with ledger.read() as connection:
        return tuple(record_of(Session, row) for row in connection.execute(query).mappings())


def credentials(ledger: Ledger, session_id: str) -> tuple[Credential, ...]:
    """Every credential that a session ever had, oldest first."""
    table = ledger.tables["credential"]
    query = sa.select(table).where(table.c.session_id == session_id).order_by(table.c.created_at_us, table.c.key_hash)
    with ledger.read() as connection:
        return tuple(record_of(Credential, row) for row in connection.execute(query).mappings())


def configured(ledger: Ledger, record: type[R], name: str) -> tuple[R, ...]:
    """Whatever a configured entity of that name ever was, as sessions were opened with it."""
    kind = next(kind for kind, known in CONFIGURED.items() if known is record)
    table = ledger.tables[kind]
    query = sa.select(table).where(table.c.name == name).order_by(table.c.digest)
    with ledger.read() as connection:
        return tuple(configured_of(record, row) for row in connection.execute(query).mappings())


def experiment_names(ledger: Ledger) -> tuple[str, ...]:
    """Experiments that have sessions, sorted."""
    column = ledger.tables["session"].c.experiment
    query = sa.select(column).where(column.is_not(None)).distinct().order_by(column)
    with ledger.read() as connection:
        return tuple(connection.execute(query).scalars())


def session_totals(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, SessionTotals]:
    """Totals of each session that has inference requests."""
    table = ledger.tables["request"]
    ours = (table.c.session_id.in_(session_ids), table.c.purpose.not_in(NO_INFERENCE))
    query = (
        sa.select(
            table.c.session_id,
            sa.func.count(),
            count_where(table.c.status == "ok"),
            count_where(sa.and_(table.c.status == "ok", table.c.purpose == "work")),
            whole_sum(table.c.input_tokens),
            whole_sum(table.c.output_tokens),
            sa.func.sum(table.c.cost_usd),
            count_where(table.c.usage_source == "proxy"),
            count_where(table.c.usage_source == "estimated"),
            *unknowns(table),
        )
        .where(*ours)
        .group_by(table.c.session_id)
    )
    version = table.c.price_table_version
    priced_by = sa.select(table.c.session_id, version).where(*ours, version.is_not(None)).distinct().order_by(version)
    price_tables: defaultdict[str, list[str]] = defaultdict(list)
    with ledger.read() as connection:
        for session_id, price_table in connection.execute(priced_by):
            price_tables[session_id].append(price_table)
        return {
            session_id: SessionTotals._make((session_id, *sums, Uncounted(*uncounted), tuple(price_tables[session_id])))
            for session_id, *found in connection.execute(query)
            for sums, uncounted in [(found[:-2], found[-2:])]
        }


def requests_of(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, tuple[Request, ...]]:
    """The requests of each session that has any, in the order they came in."""
    with ledger.read() as connection:
        return requests_in(connection, session_ids)


def requests_beside(ledger: Ledger, session_id: str, seen: Collection[str]) -> tuple[Request, ...]:
    """The requests of a session that are not among `seen`, by their keys, in the order they came in.

    A request becomes a row at its end, so that of two the one that came in first may be there last.
    """
    table = ledger.tables["request"]
    ours = table.c.session_id == session_id
    with ledger.read() as connection:
        keys = connection.execute(sa.select(table.c.request_key).where(ours)).scalars()
        unseen = [key for key in keys if key not in seen]
        rows = [
            row
            for part in _in_parts(unseen)
            for row in connection.execute(sa.select(table).where(table.c.request_key.in_(part))).mappings()
        ]
    found = (record_of(Request, row) for row in rows)
    return tuple(sorted(found, key=lambda request: (request.started_at_us, request.request_key)))


def _in_parts(keys: Iterable[str]) -> Iterator[list[str]]:
    """Keys, as many at a time as a statement takes."""
    left = iter(keys)
    while part := list(islice(left, _KEYS_AT_ONCE)):
        yield part


def other_sources(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, dict[UsageSource, int]]:
    """How many `ok` requests of each session have tokens by another witness than the provider; none is left out."""
    table = ledger.tables["request"]
    query = (
        sa.select(table.c.session_id, table.c.usage_source, sa.func.count())
        .where(table.c.session_id.in_(session_ids), table.c.usage_source != "provider", table.c.status == "ok")
        .group_by(table.c.session_id, table.c.usage_source)
    )
    found: defaultdict[str, dict[UsageSource, int]] = defaultdict(dict)
    with ledger.read() as connection:
        for session_id, source, count in connection.execute(query):
            found[session_id][source] = count
    return dict(found)


def sessions_that_worked(ledger: Ledger, session_ids: Sequence[str]) -> frozenset[str]:
    """Those of which a request of the harness's work succeeded: without one there is no success."""
    table = ledger.tables["request"]
    query = (
        sa.select(table.c.session_id)
        .where(table.c.session_id.in_(session_ids), table.c.status == "ok", table.c.purpose == "work")
        .distinct()
    )
    with ledger.read() as connection:
        return frozenset(connection.execute(query).scalars())


def rollups_by_session(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, tuple[MetricRollup, ...]]:
    """The rollups of each session that has any."""
    table = ledger.tables["metric_rollup"]
    query = (
        sa.select(table)
        .where(table.c.session_id.in_(session_ids))
        .order_by(table.c.session_id, table.c.model, table.c.status, table.c.metric)
    )
    found: defaultdict[str, list[MetricRollup]] = defaultdict(list)
    with ledger.read() as connection:
        for row in connection.execute(query).mappings():
            found[row["session_id"]].append(record_of(MetricRollup, row))
    return {session_id: tuple(rollups) for session_id, rollups in found.items()}
