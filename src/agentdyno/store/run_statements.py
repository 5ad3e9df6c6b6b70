"""SQL of headless runs, in the words of each database.

Where several rows are locked, it is in the order of their ids, so that nobody waits in a circle. SQLite has no locks of
rows: of its writing transactions there is one at a time.
"""

# ruff: noqa: S608 - what is put into these texts are names of ours

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

from agentdyno.core.judgement import SCORING
from agentdyno.core.records import Attempt, Cell
from agentdyno.store.rows import column_names
from agentdyno.store.statements import insert, listed

_FIXED = ("attempt_id", "cell_id", "run_id", "runner_id", "number", "session_id", "started_at_us")
"""What a claim says of an attempt, and nothing changes later."""
SETTLED_COLUMNS = tuple(name for name in column_names(Attempt) if name not in _FIXED)
"""What is known of an attempt when it is settled."""
_HELD = "WHERE cell_id = ? AND runner_id = ? AND attempts = ?"


class RunStatements(NamedTuple):
    """Each with its parameters, in their order."""

    beat: str
    """now_us, runner_id; no row for a runner that has ended"""
    claim: str
    """run_id, how many, runner_id; returns the cells"""
    begin: str
    """all columns of an attempt"""
    score: str
    """session_id, verdict, and whose claim it is: cell_id, runner_id, number of the attempt"""
    fail: str
    """whose claim it is"""
    free: str
    """whose claim it is"""
    settle: str
    """the settled columns of an attempt, attempt_id"""
    end: str
    """now_us, runner_id"""
    release: str
    """runner_id, runner_id; returns cell_id and number of the attempt under way"""
    lose: str
    """now_us, attempt_id; returns the attempt"""
    count_cells: str
    """run_id; returns a row of `CellCounts`"""
    count_attempts: str
    """run_id; returns a row of `AttemptCounts`"""


@functools.cache
def run_statements(*, sqlite: bool) -> RunStatements:
    """The statements for SQLite or for PostgreSQL."""
    lock, lock_free = ("", "") if sqlite else ("FOR UPDATE", "FOR UPDATE SKIP LOCKED")
    statements = RunStatements(
        beat="UPDATE runner SET seen_at_us = ? WHERE runner_id = ? AND ended_at_us IS NULL",
        claim=f"""
WITH picked AS (
    SELECT cell_id FROM cell WHERE run_id = ? AND state = 'open' AND runner_id IS NULL
    ORDER BY position LIMIT ? {lock_free}
)
UPDATE cell SET runner_id = ?, attempts = attempts + 1
WHERE cell_id IN (SELECT cell_id FROM picked) RETURNING {listed(column_names(Cell))}""",
        begin=insert("attempt", column_names(Attempt), "?"),
        score=f"UPDATE cell SET state = 'scored', runner_id = NULL, session_id = ?, verdict = ? {_HELD}",
        fail=f"""
UPDATE cell SET runner_id = NULL, failures = failures + 1,
    state = CASE WHEN failures + 1 < (SELECT max_attempts FROM run WHERE run.run_id = cell.run_id)
            THEN 'open' ELSE 'given_up' END
{_HELD}""",
        free=f"UPDATE cell SET runner_id = NULL {_HELD}",
        # What scored its cell stays as it was when it did.
        settle=f"UPDATE attempt SET {_changes()} WHERE attempt_id = ? AND NOT scored",
        end="UPDATE runner SET ended_at_us = ? WHERE runner_id = ? AND ended_at_us IS NULL",
        release=f"""
WITH held AS (
    SELECT cell_id FROM cell
    WHERE run_id = (SELECT run_id FROM runner WHERE runner_id = ?) AND state = 'open' AND runner_id = ?
    ORDER BY cell_id {lock}
)
UPDATE cell SET runner_id = NULL WHERE cell_id IN (SELECT cell_id FROM held) RETURNING cell_id, attempts""",
        lose=f"""
UPDATE attempt SET verdict = 'lost', ended_at_us = ? WHERE attempt_id = ? AND ended_at_us IS NULL
RETURNING {listed(column_names(Attempt))}""",
        count_cells="""
SELECT count(*), count(*) FILTER (WHERE state = 'open'), count(runner_id), count(*) FILTER (WHERE state = 'scored'),
    count(*) FILTER (WHERE state = 'scored' AND verdict = 'passed'), count(*) FILTER (WHERE state = 'given_up'),
    CAST(coalesce(sum(attempts), 0) AS BIGINT)
FROM cell WHERE run_id = ?""",
        count_attempts=f"""
SELECT count(*), count(*) FILTER (WHERE ended_at_us IS NULL), count(*) FILTER (WHERE scored),
    count(*) FILTER (WHERE NOT scored AND ended_at_us IS NOT NULL AND verdict IN ({_quoted(SCORING)})),
    count(*) FILTER (WHERE verdict = 'stand_failure'), count(*) FILTER (WHERE verdict = 'interrupted'),
    count(*) FILTER (WHERE verdict = 'lost')
FROM attempt WHERE run_id = ?""",
    )
    return statements if sqlite else RunStatements._make(text.replace("?", "%s") for text in statements)


def _changes() -> str:
    return ", ".join(f'"{name}" = ?' for name in SETTLED_COLUMNS)


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
