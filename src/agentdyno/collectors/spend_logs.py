"""From a LiteLLM deployment's spend logs to the ledger: the logs of one session's keys, and of no other.

Whose a log is, its key says; never its time. What was read before changes nothing when it is read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agentdyno.collectors.litellm_deployment import Deployment
from agentdyno.core.dialects.reading import UNREADABLE
from agentdyno.core.ids import digest_bytes
from agentdyno.core.normalize import RequestRow
from agentdyno.core.records import Session, UnreadableRecord
from agentdyno.core.spend_logs import Holder, logs_run, read_spend_log, request_row
from agentdyno.store.ledger import Ledger
from agentdyno.store.queries import credentials
from agentdyno.store.request_rows import Rows

_BATCH = 5_000
_PLACE_DIGITS = 15


class LogsCollected(NamedTuple):
    """What a pass over a deployment's logs found."""

    logs: int = 0
    """Of the session's keys, known ones included."""
    written: int = 0
    unreadable: int = 0
    sessions_missed: int = 0
    """Whose deployments did not give their logs."""

    def plus(self, more: LogsCollected) -> LogsCollected:
        """Both passes together."""
        return LogsCollected(*map(sum, zip(self, more, strict=True)))


def collect_spend_logs(deployment: Deployment, ledger: Ledger, session: Session) -> LogsCollected:
    """Bring every log of a session's keys that the deployment has by now into the ledger.

    Raises DeploymentFault. A log that makes no row is kept as an unreadable record.
    """
    totals = LogsCollected()
    for credential in credentials(ledger, session.session_id):
        if credential.issuer == "litellm":
            holder = Holder(session, credential.key_hash, credential.alias)
            for batch in _batches(deployment.spend_logs(holder.key_hash)):
                totals = totals.plus(_absorb(ledger, holder, batch))
    return totals


def _batches(logs: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for log in logs:
        batch.append(log)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _absorb(ledger: Ledger, holder: Holder, batch: list[bytes]) -> LogsCollected:
    rows: list[RequestRow] = []
    unreadable: list[UnreadableRecord] = []
    for encoded in batch:
        try:
            log = read_spend_log(encoded)
            if log.api_key != holder.key_hash:
                continue  # a deployment that was asked for one key's logs, and gave others' too
            rows.append(request_row(log, encoded, holder))
        except UNREADABLE as error:
            unreadable.append(_unreadable(encoded, holder, error))
    written = ledger.absorb_rows(Rows.most_telling(rows, rebuild=False), unreadable=unreadable).written
    return LogsCollected(len(rows) + len(unreadable), written, len(unreadable))


def _unreadable(encoded: bytes, holder: Holder, error: Exception) -> UnreadableRecord:
    """The note on a log. It lies in no file: the place that makes it another than others is drawn from its digest."""
    digest = digest_bytes(encoded)
    place = int(digest.rpartition(":")[2][:_PLACE_DIGITS], 16)
    reason = str(error) if type(error) is ValueError else type(error).__name__  # a decoder may quote what it read
    return UnreadableRecord(
        logs_run(holder.session.provider), 0, place, len(encoded), digest, f"makes no row: {reason}"
    )
