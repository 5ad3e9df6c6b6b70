"""The variant table: what each variant of a set of sessions did. Descriptive; it draws no conclusion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from agentdyno.core.metrics import METRICS
from agentdyno.core.records import MetricRollup, Outcome, Session, UsageSource
from agentdyno.core.rollups import Summary, merge, summarize
from agentdyno.reporting.reconciliation import unexplained_requests
from agentdyno.reporting.traces import TracedMetric, traced_metrics
from agentdyno.store import queries
from agentdyno.store.ledger import Ledger
from agentdyno.store.traces import trace_units


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
    """Judged sessions whose every check held, and of which a request of the harness's work succeeded."""
    proxy_requests: int
    """Those `ok` ones whose tokens are LiteLLM's, not the provider's."""
    estimated_requests: int
    """Those `ok` ones whose tokens are an estimate."""
    unexplained_sessions: int
    """Completed sessions with a request of which the witnesses differ, for no cause that is known."""
    metrics: Mapping[str, Summary]
    """Over the `ok` requests of completed sessions, by metric."""
    traced: tuple[TracedMetric, ...]
    """Metrics of the traces of completed sessions, by name and unit."""
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


class Ended(Protocol):
    """What a row of the table asks of a session: whole sessions are such, and what of them was read for it."""

    @property
    def session_id(self) -> str:
        """Its id; empty where it has no request and no rollup."""

    @property
    def outcome(self) -> Outcome | None:
        """How it ended."""

    @property
    def checks_passed(self) -> int | None:
        """Checks that held."""

    @property
    def checks_total(self) -> int | None:
        """Checks that were run."""

    @property
    def variant_fingerprint(self) -> str:
        """Digest of variant, provider and harness profile together."""

    @property
    def harness_binary(self) -> str | None:
        """Path of the harness's program."""

    @property
    def harness_version(self) -> str | None:
        """What the harness says its version is."""


class Facts(NamedTuple):
    """What is known of sessions beside their own rows, by their ids."""

    rollups: Mapping[str, Sequence[MetricRollup]]
    units: Mapping[str, Mapping[str, str]]
    """Of the metrics of their traces, by name."""
    worked: Collection[str]
    """Those of which a request of the harness's work succeeded."""
    doubts: Doubts


class Doubts(NamedTuple):
    """What must be said beside the figures of sessions, by their ids."""

    sources: Mapping[str, Mapping[UsageSource, int]]
    """`ok` requests whose tokens are not the provider's."""
    unexplained: Mapping[str, int]
    """Requests of which the witnesses differ, for no cause that is known."""

    def counted_by(self, source: UsageSource, sessions: Iterable[Ended]) -> int:
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
    facts = read_facts(ledger, session_ids)
    by_variant: defaultdict[str, list[Session]] = defaultdict(list)
    for session in done:
        by_variant[session.variant].append(session)
    return VariantTable(
        experiment=experiment,
        variants=tuple(summarize_variant(name, by_variant[name], facts) for name in sorted(by_variant)),
        open_sessions=sum(session.ended_at_us is None for session in sessions),
        invalid_sessions=sum(s.ended_at_us is not None and s.outcome == "invalid" for s in sessions),
        differing=_differing_among([session for session in done if session.outcome == "completed"]),
    )


def read_facts(ledger: Ledger, session_ids: Sequence[str]) -> Facts:
    """What is known of sessions beside their own rows."""
    return Facts(
        queries.rollups_by_session(ledger, session_ids),
        trace_units(ledger, session_ids),
        queries.sessions_that_worked(ledger, session_ids),
        Doubts(queries.other_sources(ledger, session_ids), unexplained_requests(ledger, session_ids)),
    )


def summarize_variant(variant: str, sessions: Sequence[Ended], facts: Facts) -> VariantSummary:
    """One variant's row. Percentiles are exact: the sorted vectors of its sessions, merged."""
    completed = [session for session in sessions if session.outcome == "completed"]
    own = [rollup for session in completed for rollup in facts.rollups.get(session.session_id, ())]
    judged = [session for session in completed if session.checks_total]
    doubts = facts.doubts
    return VariantSummary(
        variant=variant,
        sessions=len(completed),
        aborted=len(sessions) - len(completed),
        requests=_count(own),
        failed_requests=_count(rollup for rollup in own if rollup.status != "ok"),
        judged=len(judged),
        succeeded=sum(s.checks_passed == s.checks_total and s.session_id in facts.worked for s in judged),
        proxy_requests=doubts.counted_by("proxy", completed),
        estimated_requests=doubts.counted_by("estimated", completed),
        unexplained_sessions=sum(session.session_id in doubts.unexplained for session in completed),
        metrics=_summaries(rollup for rollup in own if rollup.status == "ok" and rollup.metric in METRICS),
        traced=traced_metrics(own, facts.units),
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


def _differing(sessions: Sequence[Ended], facts: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in facts if len({getattr(session, name) for session in sessions}) > 1)
