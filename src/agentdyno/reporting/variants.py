"""The variant table: what each variant of a set of sessions did. Descriptive; it draws no conclusion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agentdyno.core.records import MetricRollup, Session, UsageSource
from agentdyno.core.rollups import Summary, merge, summarize
from agentdyno.reporting.reconciliation import unexplained_requests
from agentdyno.store import queries
from agentdyno.store.ledger import Ledger


@dataclass(frozen=True)
class VariantSummary:
    """One row of the table. Sessions that are open or invalid are not in it; see `VariantTable`."""

    variant: str
    sessions: int
    """Finalized as completed."""
    aborted: int
    requests: int
    """Of completed sessions, whatever their status."""
    failed_requests: int
    """Those whose status is not ok."""
    judged: int
    """Completed sessions whose task card has checks."""
    succeeded: int
    """Judged sessions whose every check held, and which had an answer of the model at all."""
    proxy_requests: int
    """Those `ok` ones whose tokens are LiteLLM's, not the provider's."""
    estimated_requests: int
    """Those `ok` ones whose tokens are an estimate."""
    unexplained_sessions: int
    """Completed sessions with a request of which the witnesses differ, for no cause that is known."""
    metrics: Mapping[str, Summary]
    """Over the `ok` requests of completed sessions, by metric."""
    differing: tuple[str, ...]
    """Facts that are not the same in all completed sessions: the name then stands for more than one thing."""


@dataclass(frozen=True)
class VariantTable:
    """Every variant of a set of sessions, and what was left out."""

    experiment: str | None
    variants: tuple[VariantSummary, ...]
    open_sessions: int
    invalid_sessions: int
    differing: tuple[str, ...]
    """Facts of the stand that are not the same in all completed sessions, or contents of a task card that are not:
    what was measured is then not the variant alone."""


class Doubts(NamedTuple):
    """What must be said beside the figures of sessions, by their ids."""

    sources: Mapping[str, Mapping[UsageSource, int]]
    """`ok` requests whose tokens are not the provider's."""
    unexplained: Mapping[str, int]
    """Requests of which the witnesses differ, for no cause that is known."""

    def counted_by(self, source: UsageSource, sessions: Iterable[Session]) -> int:
        """How many `ok` requests of some sessions have their tokens from a source."""
        return sum(self.sources.get(session.session_id, {}).get(source, 0) for session in sessions)


_OF_A_VARIANT = ("variant_fingerprint", "harness_binary", "harness_version")
_OF_A_TASK_CARD = ("task_card_digest",)
_OF_THE_STAND = (
    "agentdyno_version",
    "litellm_version",
    "price_table_version",
    "os",
    "cpu",
    "cpu_cores",
    "memory_bytes",
    "gpu",
    "gpu_driver",
)


def variant_table(ledger: Ledger, experiment: str | None) -> VariantTable:
    """The table of an experiment, or of all sessions, from the stored rollups."""
    sessions = queries.sessions(ledger, experiment=experiment)
    done = [s for s in sessions if s.ended_at_us is not None and s.outcome in ("completed", "aborted")]
    session_ids = [session.session_id for session in done]
    rollups = queries.rollups_by_session(ledger, session_ids)
    doubts = Doubts(queries.other_sources(ledger, session_ids), unexplained_requests(ledger, session_ids))
    by_variant: defaultdict[str, list[Session]] = defaultdict(list)
    for session in done:
        by_variant[session.variant].append(session)
    return VariantTable(
        experiment=experiment,
        variants=tuple(summarize_variant(name, by_variant[name], rollups, doubts) for name in sorted(by_variant)),
        open_sessions=sum(session.ended_at_us is None for session in sessions),
        invalid_sessions=sum(s.ended_at_us is not None and s.outcome == "invalid" for s in sessions),
        differing=_differing_among([session for session in done if session.outcome == "completed"]),
    )


def summarize_variant(
    variant: str,
    sessions: Sequence[Session],
    rollups: Mapping[str, Sequence[MetricRollup]],
    doubts: Doubts,
) -> VariantSummary:
    """One variant's row. Percentiles are exact: the sorted vectors of its sessions, merged."""
    completed = [session for session in sessions if session.outcome == "completed"]
    own = [rollup for session in completed for rollup in rollups.get(session.session_id, ())]
    judged = [session for session in completed if session.checks_total]
    answered = {rollup.session_id for rollup in own if rollup.status == "ok"}
    return VariantSummary(
        variant=variant,
        sessions=len(completed),
        aborted=len(sessions) - len(completed),
        requests=_count(own),
        failed_requests=_count(rollup for rollup in own if rollup.status != "ok"),
        judged=len(judged),
        succeeded=sum(s.checks_passed == s.checks_total and s.session_id in answered for s in judged),
        proxy_requests=doubts.counted_by("proxy", completed),
        estimated_requests=doubts.counted_by("estimated", completed),
        unexplained_sessions=sum(session.session_id in doubts.unexplained for session in completed),
        metrics=_summaries(rollup for rollup in own if rollup.status == "ok"),
        differing=_differing(completed, _OF_A_VARIANT),
    )


def _count(rollups: Iterable[MetricRollup]) -> int:
    return sum(rollup.n for rollup in rollups if rollup.metric == "requests")


def _summaries(rollups: Iterable[MetricRollup]) -> dict[str, Summary]:
    by_metric: defaultdict[str, list[MetricRollup]] = defaultdict(list)
    for rollup in rollups:
        by_metric[rollup.metric].append(rollup)
    return {metric: summarize(merge(by_metric[metric])) for metric in sorted(by_metric)}


def _differing_among(completed: Sequence[Session]) -> tuple[str, ...]:
    by_task_card: defaultdict[str, list[Session]] = defaultdict(list)
    for session in completed:
        by_task_card[session.task_card].append(session)
    changed = {name for sessions in by_task_card.values() for name in _differing(sessions, _OF_A_TASK_CARD)}
    return (*_differing(completed, _OF_THE_STAND), *sorted(changed))


def _differing(sessions: Sequence[Session], facts: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in facts if len({getattr(session, name) for session in sessions}) > 1)
