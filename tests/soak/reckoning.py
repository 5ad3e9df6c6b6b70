"""What `dyno reconcile` says of a soak, held against what the soak itself knows of every request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.soak.accounts import Accounts, Row
from tests.soak.client import Asked
from tests.soak.errands import Errand
from tests.soak.provider import Served

_FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
Document = Mapping[str, Any]


class Reckoning(NamedTuple):
    """What the command printed as JSON, and its exit code."""

    exit_code: int
    document: Document


class _Known(NamedTuple):
    """All that the soak knows of a request that has a row."""

    errand: Errand
    asked: Asked
    row: Row
    in_killed_run: bool


def reckoning_faults(
    accounts: Accounts, experiment: Reckoning, sessions: Sequence[Reckoning], killed: Collection[str]
) -> list[str]:
    """What does not hold of the reconciliation of the experiment and of its sessions. `killed` are gateway runs."""
    log = [served for lines in accounts.served.values() for served in lines]
    return [
        *(f"reconcile ends with {each.exit_code}" for each in (experiment, *sessions) if each.exit_code != 0),
        *_faults_of_counts(accounts, experiment.document, sessions),
        *_faults_of_log(log, experiment.document),
        *_faults_of_causes(accounts, experiment.document, killed),
    ]


def causes(document: Document) -> Counter[tuple[str, str]]:
    """How many discrepancies there are of each field and cause."""
    return Counter((found["field"], found["cause"]) for one in document["disputed"] for found in one["discrepancies"])


def log_causes(document: Document) -> Counter[tuple[str, str]]:
    """The same of where the provider's log differs."""
    return Counter((found["field"], found["cause"]) for found in document["provider_log"]["differences"])


def _faults_of_counts(accounts: Accounts, document: Document, sessions: Sequence[Reckoning]) -> Iterator[str]:
    rows = [row for rows in accounts.rows.values() for row in rows]
    if document["requests"] != len(rows) or document["agreed"] + len(document["disputed"]) != len(rows):
        yield f"{len(rows)} rows, of which {document['requests']} are reconciled"
    for name in ("in_flight", "awaited", "unreadable", "unexplained", "beside"):
        if document[name]:
            yield f"{name}: {document[name]}"
    for name in ("requests", "agreed"):
        if document[name] != sum(session.document[name] for session in sessions):
            yield f"{name} of the sessions do not sum up to the experiment's"
    for account in document["accounts"]:
        parts = [part for session in sessions for part in session.document["accounts"]]
        own = [part for part in parts if part["witness"] == account["witness"]]
        for field in ("requests", "records", *_FIELDS):
            if sum(part[field] or 0 for part in own) != (account[field] or 0):
                yield f"{field} of {account['witness']} in the sessions do not sum up to the experiment's"


def _faults_of_log(log: Sequence[Served], document: Document) -> Iterator[str]:
    """Every line must be matched or have its difference, and every token of it be counted or explained."""
    compared = document["provider_log"]
    differences = compared["differences"]
    unmatched = {found["request_id"] for found in differences if found["field"] == "record" and found["provider"] == 0}
    if compared["unexplained"] or compared["elsewhere"]:
        yield f"the provider's log: {compared['unexplained']} unexplained, {compared['elsewhere']} elsewhere"
    if compared["lines"] != len(log) or compared["matched"] + len(unmatched) != len(log):
        yield f"{len(log)} lines, of which {compared['matched']} are matched, and {len(unmatched)} told of"
    if any(found["field"] == "record" and found["log"] == 0 for found in differences):
        yield "an attempt of the ledger's is in no line"
    provider = next(account for account in document["accounts"] if account["witness"] == "provider")
    for field in _FIELDS:
        logged = sum(getattr(served, field) or 0 for served in log)
        apart = sum(found["log"] - (found["provider"] or 0) for found in differences if found["field"] == field)
        lost = sum(getattr(served, field) or 0 for served in log if served.request_id in unmatched)
        if logged != (provider[field] or 0) + apart + lost:
            yield f"the provider logged {logged} {field}: {provider[field]} are counted, {apart + lost} explained"


def _faults_of_causes(accounts: Accounts, document: Document, killed: Collection[str]) -> Iterator[str]:
    """Every cause must be what really happened to that request."""
    known = {
        row["request_key"]: _Known(
            accounts.errands[number], accounts.asked[number], row, in_killed_run=row["gateway_id"] in killed
        )
        for number, rows in accounts.rows.items()
        for row in rows
    }
    found = [(one["request_key"], each) for one in document["disputed"] for each in one["discrepancies"]]
    found += [(each["request_key"], each) for each in document["provider_log"]["differences"]]
    for key, each in found:
        one = known.get(key)
        if one is None or not _is_true(each["cause"], one):
            number = None if one is None else one.errand.number
            yield f"request {number}: {each['field']} is put down to {each['cause']}"


def _is_true(cause: str, one: _Known) -> bool:
    """Whether a cause is what happened. Those that cannot happen in a soak are never true."""
    left = one.asked.ending == "cut"
    failed = one.errand.fate in ("refused", "breaks_off")
    match cause:
        case "harness_left" | "proxy_calls_cut_success":
            return left
        case "provider_cut":
            return one.errand.fate == "breaks_off"
        case "gateway_lost":
            return one.in_killed_run
        case "no_proxy_record" | "proxy_counts_no_failure":
            return left or failed
        case "proxy_record_twice":
            return left and failed
        case "proxy_estimated":
            return left or one.errand.fate == "breaks_off"
        case _:
            return False
