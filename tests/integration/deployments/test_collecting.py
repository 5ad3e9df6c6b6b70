"""From a deployment's spend logs to both kinds of ledgers: of whose key they are, once each, whatever they hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.deployments.conftest import KEY_ENV, MASTER_KEY
from tests.integration.deployments.deployment_server import DeploymentServer
from tests.integration.deployments.litellm_deployment import LitellmDeployment
from tests.integration.deployments.litellm_records import Call, spend_log
from tests.integration.ledgers import Ledgers, add_session, dump, opened

from agentdyno.collectors.litellm_deployment import Deployment
from agentdyno.collectors.spend_logs import LogsCollected, collect_spend_logs
from agentdyno.core.errors import DeploymentFault
from agentdyno.core.records import Credential, Session
from agentdyno.store.ledger import Ledger

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)
OURS, OURS_TOO, ANOTHERS = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    """A ledger with a session that has had two keys of a deployment, and one of the gateway."""
    with opened(ledgers) as ledger:
        add_session(ledger, provider="team")
        for number, (key_hash, issuer) in enumerate([(OURS, "litellm"), (ANOTHERS, "gateway"), (OURS_TOO, "litellm")]):
            alias = f"plain/sums/{number}"
            ledger.issue(Credential(key_hash, "ses_1", alias, number, 9_000, issuer=issuer))  # type: ignore[arg-type]  # one of both
        yield ledger


@pytest.fixture
def asked(deployment: LitellmDeployment, server: DeploymentServer) -> Deployment:
    """The deployment as a collector sees it, with everything written that is logged."""
    deployment.logs.written_after_s = -1
    return Deployment("team", server.url, KEY_ENV, {KEY_ENV: MASTER_KEY})


def session(ledger: Ledger) -> Session:
    found = ledger.session("ses_1")
    assert found is not None
    return found


def log(key: str, number: int, **changes: Any) -> dict[str, Any]:
    """A log of one chat, 40 tokens in and 2 out."""
    began = BEGAN + timedelta(milliseconds=number)
    ended = began + timedelta(milliseconds=20)
    call = Call(
        call_type="acompletion",
        api_key=key,
        key_alias=None,
        model="m",
        model_group="m",
        began=began,
        first_piece=ended,
        ended=ended,
        said="",
        request_id=f"{key[0]}{number}",
        call_id="",
        usage={"prompt_tokens": 40, "completion_tokens": 2},
    )
    return {**spend_log(call), **changes}


def test_logs_of_every_key_of_the_session_and_of_no_other(
    ledger: Ledger, asked: Deployment, deployment: LitellmDeployment
) -> None:
    for number, key in enumerate((OURS, ANOTHERS, OURS_TOO, OURS)):
        deployment.logs.add(log(key, number))

    assert collect_spend_logs(asked, ledger, session(ledger)) == LogsCollected(logs=3, written=3)

    assert [row.key_hash for row in ledger.requests("ses_1")] == [OURS, OURS_TOO, OURS]


def test_a_deployment_that_gives_logs_of_others_too(
    ledger: Ledger, asked: Deployment, deployment: LitellmDeployment
) -> None:
    deployment.heeds_filter = False
    for number, key in enumerate((OURS, ANOTHERS)):
        deployment.logs.add(log(key, number))

    assert collect_spend_logs(asked, ledger, session(ledger)).logs == 1
    assert [row.key_hash for row in ledger.requests("ses_1")] == [OURS]


def test_the_gateway_takes_no_key_that_a_deployment_issued(ledger: Ledger) -> None:
    assert ledger.credential_scope(ANOTHERS) is not None
    assert ledger.credential_scope(OURS) is None


def test_read_twice_nothing_changes(ledger: Ledger, asked: Deployment, deployment: LitellmDeployment) -> None:
    deployment.logs.add(log(OURS, 0))
    deployment.logs.add(log(OURS, 1, endTime=None))
    assert collect_spend_logs(asked, ledger, session(ledger)) == LogsCollected(2, written=1, unreadable=1)
    before = dump(ledger)

    assert collect_spend_logs(asked, ledger, session(ledger)) == LogsCollected(2, written=0, unreadable=1)

    assert dump(ledger) == before


def test_a_log_that_makes_no_row_is_counted(ledger: Ledger, asked: Deployment, deployment: LitellmDeployment) -> None:
    deployment.logs.add(log(OURS, 0, request_id=None))
    deployment.logs.add(log(OURS, 1, endTime="tomorrow"))

    collect_spend_logs(asked, ledger, session(ledger))

    found = sorted(dump(ledger)["unreadable_record"])
    assert len(found) == 2
    assert all("'litellm:team'" in row and "sha256:" in row for row in found)
    reasons = {row.rpartition("makes no row: ")[2] for row in found}
    assert reasons == {"it has no request_id')", "it does not tell when it began and ended')"}


@pytest.mark.parametrize("count", [99, 100, 101, 250])
def test_any_number_of_pages(ledger: Ledger, asked: Deployment, deployment: LitellmDeployment, count: int) -> None:
    for number in range(count):
        deployment.logs.add(log(OURS, number))

    assert collect_spend_logs(asked, ledger, session(ledger)) == LogsCollected(count, written=count)


def test_after_the_end_they_are_late_and_rebuild_the_rollups(
    ledger: Ledger, asked: Deployment, deployment: LitellmDeployment
) -> None:
    deployment.logs.add(log(OURS, 0))
    collect_spend_logs(asked, ledger, session(ledger))
    steps = ("created", "credentialed", "recorded", "rendered", "launched", "collected")
    for current, following in itertools.pairwise(steps):
        ledger.advance("ses_1", current, following)  # type: ignore[arg-type]  # phases by name
    ledger.close_session("ses_1", "completed", 9_000, None)
    deployment.logs.add(log(OURS, 1))

    collect_spend_logs(asked, ledger, session(ledger))

    assert [row.late for row in ledger.requests("ses_1")] == [False, True]
    totals = [row for row in dump(ledger)["metric_rollup"] if "'input_tokens'" in row]
    assert len(totals) == 1
    assert ", 2, 80.0, " in totals[0]


def test_texts_that_no_database_holds(ledger: Ledger, asked: Deployment, deployment: LitellmDeployment) -> None:
    deployment.logs.add(log(OURS, 0, request_id="a\x00b", model="\x00", model_group="m\x00", litellm_call_id="\ud800"))

    assert collect_spend_logs(asked, ledger, session(ledger)) == LogsCollected(1, written=1)

    (row,) = ledger.requests("ses_1")
    assert (row.model_served, row.response_id, row.litellm_call_id) == (None, None, None)


def test_an_answer_that_is_none_of_litellms(ledger: Ledger, server: DeploymentServer) -> None:
    elsewhere = Deployment("team", f"{server.url}/nowhere", KEY_ENV, {KEY_ENV: MASTER_KEY})

    with pytest.raises(DeploymentFault, match=r"answers HTTP 404 on /spend/logs: Not Found; is base_url the address"):
        collect_spend_logs(elsewhere, ledger, session(ledger))
