"""The installed LiteLLM's own logs make the right rows, and the stand-in's look like them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.deployments import litellms_own
from tests.integration.deployments.litellm_records import Call, spend_log
from tests.integration.ledgers import session_row

from agentdyno.core.ids import key_hash
from agentdyno.core.records import Request
from agentdyno.core.spend_logs import Holder, read_spend_log, request_row

BODY = {
    "key_alias": "plain/sums/ses_1",
    "duration": "600s",
    "models": ["large"],
    "metadata": {"session": "ses_1"},
    "key_type": "llm_api",
}
_NOT_LOGGED = {"billing_agent_id"}
"""What a payload may have besides the table's columns that are read."""


@pytest.fixture(scope="module")
def litellms() -> dict[str, Any]:
    command = [sys.executable, litellms_own.__file__, json.dumps(BODY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"logs"') :])
    return document


def row(log: dict[str, Any]) -> Request:
    encoded = json.dumps(log).encode()
    holder = Holder(session_row(provider="team"), litellms_own.KEY, "plain")
    return Request(*request_row(read_spend_log(encoded), encoded, holder))


def test_answers(litellms: dict[str, Any]) -> None:
    whole, streamed = (row(log) for log in litellms["logs"][:2])
    told = ("surface", "status", "model_requested", "model_served", "purpose")
    for made in (whole, streamed):
        assert tuple(getattr(made, name) for name in told) == ("openai_chat", "ok", "large", "gpt-3.5-turbo", "work")
        assert made.cost_usd is not None
    # LiteLLM's mock tells these; of a stream whose provider told nothing it counts the text.
    assert (whole.input_tokens, whole.output_tokens, whole.usage_source, whole.streamed) == (10, 20, "proxy", False)
    assert (streamed.usage_source, streamed.streamed, streamed.reasoning_tokens) == ("estimated", True, None)
    assert whole.response_id == litellms["logs"][0]["request_id"]


def test_failures(litellms: dict[str, Any]) -> None:
    limited, denied = (row(log) for log in litellms["logs"][2:])
    assert (limited.status, limited.error_code, limited.error_class) == ("provider_error", "429", "rate_limit")
    assert (denied.status, denied.error_code, denied.error_class) == ("rejected", "403", "permission")
    assert {made.input_tokens for made in (limited, denied)} == {None}
    assert {made.cost_usd for made in (limited, denied)} == {None}


def test_no_text_is_kept(litellms: dict[str, Any]) -> None:
    assert "planted words" in json.dumps(litellms["logs"])
    assert "planted words" not in repr([row(log) for log in litellms["logs"]])


def test_the_stand_ins_logs_have_the_same_columns(litellms: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    call = Call("acompletion", "", None, "m", "m", now, now, now, "", "chatcmpl-1", "call-1", {"prompt_tokens": 1})
    ours = spend_log(call)
    for theirs in litellms["logs"]:
        assert set(theirs) - _NOT_LOGGED == set(ours)
        assert set(ours["metadata"]) - {"max_retries", "attempted_retries"} <= set(json.loads(theirs["metadata"]))


def test_the_body_for_a_key_is_understood(litellms: dict[str, Any]) -> None:
    assert (litellms["unknown"], litellms["read"], litellms["duration_s"]) == ([], BODY, 600)
    assert litellms["hash"] == key_hash("sk-key")
