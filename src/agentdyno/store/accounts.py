"""The SELECTs of reconciliation and usage: sums over requests, and the requests of which the witnesses differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal, NamedTuple, get_args

import sqlalchemy as sa

from agentdyno.core.discrepancies import TOKEN_FIELDS
from agentdyno.core.records import Request
from agentdyno.core.side_calls import NO_INFERENCE
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import record_of

Grouping = Literal["key", "model", "provider", "harness", "day"]
GROUPINGS: Final[tuple[Grouping, ...]] = get_args(Grouping)
_DAY_US = 86_400_000_000
_VALUES_AT_ONCE = 500
"""A statement takes so many values, or fewer."""
_UNEXPLAINED = '%"cause":"unexplained"%'
_ANSWER_LOST = ("connection", "timeout", "incomplete_stream", "unreadable_answer")
"""Errors of an answer that may have been made and did not come: an HTTP status beside them is LiteLLM's own."""


class TokenSums(NamedTuple):
    """Sums of tokens by kind; None where no request has the figure."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class Uncounted(NamedTuple):
    """Of how many requests that may have used tokens nobody knows how many, of the input and of the output."""

    input_tokens: int = 0
    output_tokens: int = 0


class Agreed(NamedTuple):
    """Sums over the inference requests of which all witnesses say the same."""

    requests: int
    attempted: int
    """Of which the provider has a record."""
    attempts: int
    reported: int
    """Of which LiteLLM has a record."""
    tokens: TokenSums


class Used(NamedTuple):
    """What a group of inference requests came to."""

    group: str | int | None
    """None where it is unknown; of a day, its number since 1970, in UTC."""
    requests: int
    ok: int
    tokens: TokenSums
    uncounted: Uncounted
    cost_usd: float | None
    """The sum of those that are known; None where none is."""
    unpriced: int
    """Requests that may have used tokens, and whose cost is unknown."""
    by_provider: int
    by_proxy: int
    estimated: int
    by_nobody: int
    """By how many requests' tokens are whose, and of how many that may have used some nobody counted any."""
    used_nothing: int
    """Those that were refused, or never reached a provider."""


class Window(NamedTuple):
    """Which requests are meant: all that fit whatever is given."""

    session_ids: Collection[str] | None = None
    since_us: int | None = None
    """Came in then, or later."""
    until_us: int | None = None
    """Came in before."""


def agreed(ledger: Ledger, session_ids: Collection[str]) -> Agreed:
    """What the witnesses of some sessions agree on."""
    table = ledger.tables["request"]
    tried = sa.and_(table.c.attempts.is_not(None), table.c.attempts > 0)
    query = sa.select(
        sa.func.count(),
        count_where(tried),
        sa.cast(sa.func.coalesce(sa.func.sum(table.c.attempts), 0), sa.BigInteger),
        sa.func.count(table.c.litellm_call_id),
        *_token_sums(table),
    ).where(*_inference(table, session_ids), table.c.discrepancies == "[]")
    with ledger.read() as connection:
        requests, attempted, attempts, reported, *tokens = connection.execute(query).one()
    return Agreed(requests, attempted, attempts, reported, TokenSums(*tokens))


def differing(ledger: Ledger, session_ids: Collection[str]) -> tuple[Request, ...]:
    """The inference requests of some sessions of which the witnesses differ, in the order they came in."""
    table = ledger.tables["request"]
    return _requests(ledger, *_inference(table, session_ids), table.c.discrepancies != "[]")


def unexplained(ledger: Ledger, session_ids: Collection[str]) -> tuple[Request, ...]:
    """Those of them of which a discrepancy has no cause."""
    table = ledger.tables["request"]
    return _requests(ledger, *_inference(table, session_ids), table.c.discrepancies.like(_UNEXPLAINED))


def inference_requests(ledger: Ledger, session_ids: Collection[str]) -> tuple[Request, ...]:
    """All inference requests of some sessions, in the order they came in."""
    return _requests(ledger, *_inference(ledger.tables["request"], session_ids))


def requests_beside_inference(ledger: Ledger, session_ids: Collection[str]) -> int:
    """How many requests of some sessions asked for no answer of a model."""
    table = ledger.tables["request"]
    query = sa.select(sa.func.count()).where(table.c.session_id.in_(session_ids), table.c.purpose.in_(NO_INFERENCE))
    with ledger.read() as connection:
        count: int = connection.execute(query).scalar_one()
    return count


def unreadable_records(ledger: Ledger, session_ids: Collection[str]) -> int:
    """How many records could not be read of those gateway runs that saw some sessions. Whose they are nobody knows."""
    request, unreadable = ledger.tables["request"], ledger.tables["unreadable_record"]
    runs = sa.select(request.c.gateway_id).where(request.c.session_id.in_(session_ids))
    query = sa.select(sa.func.count()).where(unreadable.c.gateway_id.in_(runs))
    with ledger.read() as connection:
        count: int = connection.execute(query).scalar_one()
    return count


def last_signs_of_life(ledger: Ledger, gateway_ids: Collection[str]) -> dict[str, int]:
    """When the last request came in or ended, of those gateway runs that are over."""
    request, cursor = ledger.tables["request"], ledger.tables["spool_cursor"]
    over = sa.select(cursor.c.gateway_id).where(cursor.c.gateway_id.in_(gateway_ids), cursor.c.closed)
    query = (
        sa.select(request.c.gateway_id, sa.func.max(request.c.ended_at_us))
        .where(request.c.gateway_id.in_(over))
        .group_by(request.c.gateway_id)
    )
    with ledger.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def known_provider_request_ids(ledger: Ledger, ids: Iterable[str]) -> frozenset[str]:
    """Which of a provider's request ids any request has."""
    column, wanted = ledger.tables["request"].c.provider_request_id, sorted(set(ids))
    with ledger.read() as connection:
        return frozenset(
            found
            for start in range(0, len(wanted), _VALUES_AT_ONCE)
            for found in connection.execute(
                sa.select(column).where(column.in_(wanted[start : start + _VALUES_AT_ONCE]))
            ).scalars()
        )


def usage(ledger: Ledger, by: Grouping, window: Window) -> tuple[Used, ...]:
    """What inference requests came to, by one of their traits; groups in order, the unknown one last."""
    table, session = ledger.tables["request"], ledger.tables["session"]
    groups: dict[Grouping, sa.ColumnElement[str] | sa.ColumnElement[int]] = {
        "key": table.c.key_alias,
        "model": table.c.model_requested,
        "provider": table.c.provider,
        "harness": session.c.harness_profile,
        "day": table.c.started_at_us // sa.literal_column(str(_DAY_US), sa.BigInteger),
    }
    group = groups[by].label("usage_group")
    consuming = may_have_used(table)
    query = (
        sa.select(
            group,
            sa.func.count(),
            count_where(table.c.status == "ok"),
            sa.func.sum(table.c.cost_usd),
            *unknowns(table),
            *(count_where(table.c.usage_source == source) for source in ("provider", "proxy", "estimated")),
            count_where(sa.and_(consuming, table.c.usage_source.is_(None))),
            count_where(~consuming),
            *_token_sums(table),
        )
        .select_from(table.outerjoin(session, table.c.session_id == session.c.session_id))
        .where(*_within(table, window))
        .group_by(group)
    )
    with ledger.read() as connection:
        found = [
            Used(name, requests, ok, TokenSums(*tokens), Uncounted(*uncounted), cost_usd, unpriced, *sources)
            for name, requests, ok, cost_usd, unpriced, *rest in connection.execute(query)
            for uncounted, sources, tokens in [(rest[:2], rest[2:7], rest[7:])]
        ]
    return tuple(sorted(found, key=lambda used: (used.group is None, used.group)))


def may_have_used(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a request reached a provider that was to answer it: somebody counted tokens, or nothing shows otherwise.

    It did not where the stand or LiteLLM refused it, and used nothing where the provider did, with an HTTP error. A
    deployment's log tells no HTTP status: what failed there was refused, unless tokens or the error say otherwise.
    """
    request = table.c
    refused_by_provider = sa.and_(
        request.status == "provider_error",
        sa.func.coalesce(request.http_status, 400) >= 400,
        sa.func.coalesce(request.error_class, "").not_in(_ANSWER_LOST),
    )
    refused = sa.or_(request.status == "rejected", sa.func.coalesce(request.attempts, 1) == 0, refused_by_provider)
    return sa.or_(request.usage_source.is_not(None), ~refused)


def unknowns(table: sa.Table) -> Sequence[sa.ColumnElement[int]]:
    """Of how many requests that may have used tokens the cost, the input and the output are unknown."""
    consuming, fields = may_have_used(table), ("cost_usd", *Uncounted._fields)
    return [count_where(sa.and_(consuming, table.c[field].is_(None))) for field in fields]


def _within(table: sa.Table, window: Window) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [table.c.purpose.not_in(NO_INFERENCE)]
    if window.session_ids is not None:
        conditions.append(table.c.session_id.in_(window.session_ids))
    if window.since_us is not None:
        conditions.append(table.c.started_at_us >= window.since_us)
    if window.until_us is not None:
        conditions.append(table.c.started_at_us < window.until_us)
    return conditions


def _inference(table: sa.Table, session_ids: Collection[str]) -> list[sa.ColumnElement[bool]]:
    return _within(table, Window(session_ids))


def _requests(ledger: Ledger, *conditions: sa.ColumnElement[bool]) -> tuple[Request, ...]:
    table = ledger.tables["request"]
    query = sa.select(table).where(*conditions).order_by(table.c.started_at_us, table.c.request_key)
    with ledger.read() as connection:
        return tuple(record_of(Request, row) for row in connection.execute(query).mappings())


def count_where(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """How many rows hold it; 0 of none."""
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def whole_sum(column: sa.Column[int]) -> sa.Cast[int]:
    """The sum of whole numbers, of which PostgreSQL would make a decimal."""
    return sa.cast(sa.func.sum(column), sa.BigInteger)


def _token_sums(table: sa.Table) -> Sequence[sa.ColumnElement[int]]:
    return [whole_sum(table.c[field]) for field in TOKEN_FIELDS]
