"""Three accounts of the same requests held against each other: the client's, the provider's, and the ledger's rows.

Every request is held against every other account by its number, which the client sends as an id of its own and the
provider reads in the prompt. What must hold is said here without any of the product's own reckoning.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.soak.client import Asked
from tests.soak.errands import NUMBER_HEADER, Errand, own_of
from tests.soak.provider import Served

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_PARTS = TOKENS[2:]
Row = Mapping[str, Any]
_T = TypeVar("_T")


class Accounts(NamedTuple):
    """Who says what, by the requests' numbers."""

    errands: Mapping[int, Errand]
    asked: Mapping[int, Asked]
    served: Mapping[int, Sequence[Served]]
    rows: Mapping[int, Sequence[Row]]
    turned_away: Sequence[Row]
    """Rows of requests whose key could not be looked up: they belong to nobody, and have no number."""
    session_ids: Mapping[str, Sequence[str]]


def read_log(log: Path) -> list[Served]:
    """The provider's own account."""
    return [Served(**json.loads(line)) for line in log.read_text().splitlines()]


def by_number(items: Iterable[_T], number_of: Callable[[_T], int]) -> Mapping[int, Sequence[_T]]:
    """Items by the number of their request."""
    found: dict[int, list[_T]] = defaultdict(list)
    for item in items:
        found[number_of(item)].append(item)
    return found


def number_of_row(row: Row) -> int:
    """The number that the client sent with a request."""
    return int(json.loads(row["harness_ids"])[NUMBER_HEADER])


def faults(accounts: Accounts) -> list[str]:
    """What does not hold, each with the request's number; nothing when every request is accounted for."""
    found = [f"a row of no request that was sent: {number}" for number in accounts.rows if number not in accounts.asked]
    for number, asked in sorted(accounts.asked.items()):
        rows, served = accounts.rows.get(number, ()), accounts.served.get(number, ())
        session_id = own_of(accounts.session_ids, accounts.errands[number])
        found += [f"request {number}: {fault}" for fault in _faults(asked, served, rows, session_id)]
    told = sum(_is_turned_away(asked) for asked in accounts.asked.values())
    # Some of those hung up before they were told.
    if not told <= len(accounts.turned_away) <= told + never_let_in(accounts).total():
        found.append(f"{told} requests were told that they are turned away, and {len(accounts.turned_away)} have a row")
    return found


def never_let_in(accounts: Accounts) -> Counter[str]:
    """Requests that were sent and have no row of their own, by how they ended for the client."""
    return Counter(
        asked.ending
        for number, asked in accounts.asked.items()
        if number not in accounts.rows and not _is_turned_away(asked)
    )


def _is_turned_away(asked: Asked) -> bool:
    """Whether the stand itself answered that it cannot look a key up: what LiteLLM answered has a call id."""
    return asked.ending == "answered" and asked.status == 503 and asked.request_key is None


def _faults(asked: Asked, served: Sequence[Served], rows: Sequence[Row], session_id: str) -> Iterator[str]:
    if len(rows) > 1 or len(served) > 1:
        yield f"{len(rows)} rows, and {len(served)} lines of the provider"
    elif rows:
        yield from _faults_of_client(asked, rows[0], session_id)
        yield from _faults_of_provider(served[0], rows[0]) if served else _faults_unserved(asked, rows[0])
    elif served or (asked.ending not in ("lost", "cut") and not _is_turned_away(asked)):
        yield f"it was let in ({asked.ending}, {asked.status}), and has no row"


def _faults_of_client(asked: Asked, row: Row, session_id: str) -> Iterator[str]:
    """What the client was told, against the row."""
    if row["session_id"] != session_id:
        yield f"it belongs to {session_id}, and its row to {row['session_id']}"
    if asked.request_key not in (None, row["request_key"]):
        yield f"its answer has the key {asked.request_key}, and its row {row['request_key']}"
    if asked.ending == "answered" and asked.status != row["http_status"]:
        yield f"the client was told {asked.status}, and its row says {row['http_status']}"
    if asked.ending == "answered" and is_lost(row):
        yield "the client has its answer, and its row says that the gateway was lost"


def _faults_of_provider(served: Served, row: Row) -> Iterator[str]:
    """What the provider served, against the row."""
    if row["provider_request_id"] not in (None, served.request_id):
        yield f"the provider calls it {served.request_id}, and its row {row['provider_request_id']}"
    if row["provider_request_id"] is None and row["status"] in ("ok", "provider_error"):
        yield f"its row ({row['status']}) lacks the provider's id {served.request_id}"
    if not is_lost(row) and row["attempts"] != 1:
        yield f"the provider was asked once, and its row says {row['attempts']} times"
    if row["status"] == "ok" and not (served.whole and served.status == 200 and row["usage_source"] == "provider"):
        yield f"its row is ok by {row['usage_source']}, and the provider served {served.status}, whole: {served.whole}"
    for field in TOKENS if row["usage_source"] == "provider" else ():
        told, counted = row[field], getattr(served, field)
        # How much of an answer that was cut was made, is not known.
        if not _agree(field, told, counted) and (row["status"] == "ok" or told is not None):
            yield f"the provider served {counted} {field}, and its row ({row['status']}) says {told}"


def _faults_unserved(asked: Asked, row: Row) -> Iterator[str]:
    """A request that the provider never saw."""
    if row["status"] not in ("client_disconnect", "proxy_error") or row["usage_source"] is not None:
        yield f"the provider never saw it, and its row is {row['status']} with tokens by {row['usage_source']}"
    if asked.ending == "answered":
        yield f"it was answered {asked.status}, and the provider never saw it"


def is_lost(row: Row) -> bool:
    """Whether the gateway died with it."""
    return bool(row["error_class"] == "gateway_lost")


def _agree(field: str, told: int | None, counted: int | None) -> bool:
    """Of a part of the input or the output, to say nothing and to say 0 are the same."""
    return (told or 0) == (counted or 0) if field in _PARTS else told == counted
