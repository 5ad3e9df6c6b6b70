"""Three witnesses side by side: what each says of a set of sessions, and every discrepancy with its request and cause.

The sums of a witness are those of the rows on which all agree, and its own figures of the others: a row and its
discrepancies tell them. Two causes are found here, since it takes more than a request's own records to tell them. A
record that is missing may still be awaited, as long as a collector waits for it; and it was lost with its gateway,
where that gateway's run is over, and nothing of it was heard for longer than five seconds after the request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from agentdyno.collectors.progress import ROUTED_GRACE_US
from agentdyno.core.discrepancies import (
    TOKEN_FIELDS,
    WITNESSES,
    Cause,
    Discrepancy,
    Witness,
    decode,
    records_of,
    said_by,
)
from agentdyno.core.records import Request
from agentdyno.store import accounts
from agentdyno.store.accounts import TokenSums
from agentdyno.store.ledger import Ledger

_LAST_BREATH_US = 5_000_000
"""LiteLLM reports, and hangs up on a provider, within that time: under load it was seen to take two seconds."""


@dataclass(frozen=True)
class Account:
    """What one witness says of all inference requests together, or the rows themselves."""

    witness: Witness | Literal["row"]
    requests: int
    """Of which it has a record."""
    records: int
    """Attempts at the provider, LiteLLM's reports, answers, rows."""
    tokens: TokenSums


@dataclass(frozen=True)
class Disputed:
    """A request of which the witnesses differ."""

    request: Request
    discrepancies: tuple[Discrepancy, ...]

    @property
    def explained(self) -> bool:
        """Whether each of them has a cause."""
        return all(found.cause != "unexplained" for found in self.discrepancies)


@dataclass(frozen=True)
class Reconciliation:
    """What the witnesses say of a set of sessions."""

    title: str
    requests: int
    """Inference requests that have a row."""
    beside: int
    """Requests with a row that asked for no answer of a model."""
    in_flight: int
    """Requests that came in, and are not answered yet."""
    awaited: int
    """Requests that are answered, and of which a record is still to come."""
    unreadable: int
    """Records that could not be read, of all that the gateways of these sessions wrote."""
    accounts: tuple[Account, ...]
    """The three witnesses', and that of the rows."""
    disputed: tuple[Disputed, ...]

    @property
    def agreed(self) -> int:
        """Requests of which all witnesses say the same."""
        return self.requests - len(self.disputed)

    @property
    def unexplained(self) -> int:
        """Requests with a discrepancy that has no cause."""
        return sum(not disputed.explained for disputed in self.disputed)


def reconcile(
    ledger: Ledger, title: str, session_ids: Collection[str], now_us: int, *, in_flight: int = 0, awaited: int = 0
) -> Reconciliation:
    """Reconcile some sessions as they are in the ledger."""
    agreed = accounts.agreed(ledger, session_ids)
    disputed = disputes(ledger, accounts.differing(ledger, session_ids), now_us)
    clean = {
        "provider": Account("provider", agreed.attempted, agreed.attempts, agreed.tokens),
        "proxy": Account("proxy", agreed.reported, agreed.reported, agreed.tokens),
        "harness": Account("harness", agreed.requests, agreed.requests, agreed.tokens),
    }
    rows = agreed.requests + len(disputed)
    own = [TokenSums(*(getattr(one.request, field) for field in TOKEN_FIELDS)) for one in disputed]
    return Reconciliation(
        title=title,
        requests=rows,
        beside=accounts.requests_beside_inference(ledger, session_ids),
        in_flight=in_flight,
        awaited=awaited,
        unreadable=accounts.unreadable_records(ledger, session_ids),
        accounts=(
            *(_with_disputed(clean[witness], witness, disputed) for witness in WITNESSES),
            Account("row", rows, rows, _plus(agreed.tokens, own)),
        ),
        disputed=disputed,
    )


def _with_disputed(account: Account, witness: Witness, disputed: Sequence[Disputed]) -> Account:
    counts = [records_of(witness, one.request, one.discrepancies) for one in disputed]
    told = [
        TokenSums(*(said_by(witness, field, one.request, one.discrepancies) for field in TOKEN_FIELDS))
        for one in disputed
    ]
    return Account(
        witness,
        account.requests + sum(count > 0 for count in counts),
        account.records + sum(counts),
        _plus(account.tokens, told),
    )


def _plus(sums: TokenSums, more: Sequence[TokenSums]) -> TokenSums:
    return TokenSums(*(_sum(column) for column in zip(sums, *more, strict=True)))


def _sum(column: Sequence[int | None]) -> int | None:
    known = [count for count in column if count is not None]
    return sum(known) if known else None


def disputes(ledger: Ledger, requests: Sequence[Request], now_us: int | None) -> tuple[Disputed, ...]:
    """Requests with their discrepancies, and a cause for what was not recorded, where there is one.

    `now_us` is None where nothing is awaited any more.
    """
    disputed = [Disputed(request, decode(request.discrepancies)) for request in requests]
    bereft = {one.request.gateway_id for one in disputed if any(map(_is_missing_record, one.discrepancies))}
    last_signs = accounts.last_signs_of_life(ledger, bereft) if bereft else {}
    return tuple(_with_cause(one, last_signs.get(one.request.gateway_id), now_us) for one in disputed)


def _with_cause(disputed: Disputed, last_sign_us: int | None, now_us: int | None) -> Disputed:
    """`last_sign_us` is when the last was heard of the gateway, if its run is over."""
    cause: Cause
    if last_sign_us is None and now_us is not None and now_us < disputed.request.ended_at_us + ROUTED_GRACE_US:
        cause = "awaited"
    elif last_sign_us is not None and last_sign_us <= disputed.request.ended_at_us + _LAST_BREATH_US:
        cause = "gateway_lost"
    else:
        return disputed
    found = tuple(
        msgspec.structs.replace(one, cause=cause) if _is_missing_record(one) else one for one in disputed.discrepancies
    )
    return Disputed(disputed.request, found)


def _is_missing_record(found: Discrepancy) -> bool:
    """Whether a discrepancy without a cause is that something was not recorded."""
    if found.cause != "unexplained":
        return False
    match found.field:
        case "record":
            doubled = isinstance(found.proxy, int) and found.proxy > 1
            return 0 in (found.provider, found.proxy) and not doubled
        case "attempts":
            begun, recorded = found.harness, found.provider
            return isinstance(begun, int) and isinstance(recorded, int) and recorded < begun
        case _:
            return False


def unexplained_requests(ledger: Ledger, session_ids: Collection[str], now_us: int | None = None) -> dict[str, int]:
    """How many requests of each session hold a discrepancy without a cause; sessions without any are left out.

    `now_us` as of `disputes`: None where the sessions are over.
    """
    disputed = disputes(ledger, accounts.unexplained(ledger, session_ids), now_us)
    return dict(Counter(one.request.session_id or "" for one in disputed if not one.explained))
