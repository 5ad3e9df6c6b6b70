"""What the stand relies on of a LiteLLM deployment, as one walk through it: the stand-in's, or a real one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx
from tests.integration.ledgers import add_session

from agentdyno.clock import now_us
from agentdyno.collectors.litellm_deployment import Deployment
from agentdyno.collectors.spend_logs import collect_spend_logs
from agentdyno.core.ids import key_hash, time_ordered_id
from agentdyno.core.records import Request, Session
from agentdyno.sessions.deployments import DeploymentAccess, read_logs_to_the_end
from agentdyno.sessions.issuing import DeploymentKeys
from agentdyno.store.ledger import Ledger

KEY_ENV = "LITELLM_TEST_ADMIN_KEY"
_MINUTES_US = 10 * 60 * 1_000_000
_FORGOTTEN_WITHIN_S = 120
"""A deployment of several processes may take a deleted key for a while."""


class Place(NamedTuple):
    """A deployment, and how to use it."""

    url: str
    environ: Mapping[str, str]
    model: str
    logs_quiet_s: float
    logs_limit_s: float


def walk(place: Place, ledger: Ledger, random: bytes) -> None:
    """Issue a key, use it, let it be refused, delete it, and find all of that in the logs: each once, nobody else's."""
    deployment = Deployment("team", place.url, KEY_ENV, place.environ)
    deployment.check()
    session = new_session(ledger, place.model, random)
    keys = DeploymentKeys(deployment, ledger, now_us)
    key = keys.issue(session, lambda _: b"")
    whole, streamed = ask(place, key), ask(place, key, stream=True)
    refused = ask(place, key, model="a-model-of-nobody")
    keys.revoke(session)

    assert (whole.status_code, streamed.status_code) == (200, 200)
    assert 400 <= refused.status_code < 500
    require_forgotten(place, key)
    access = DeploymentAccess(place.environ, place.logs_quiet_s, place.logs_limit_s)
    read_logs_to_the_end(deployment, ledger, session, access, lambda: False)
    require_rows(ledger.requests(session.session_id), key, whole.json(), streamed.text)
    again = collect_spend_logs(deployment, ledger, session)
    assert (again.written, again.unreadable) == (0, 0)


def new_session(ledger: Ledger, model: str, random: bytes) -> Session:
    """A session of its own: aliases of keys are unique at a deployment."""
    session_id = time_ordered_id("ses", now_us(), random)
    add_session(ledger, session_id, provider="team", model=model, expires_at_us=now_us() + _MINUTES_US)
    session = ledger.session(session_id)
    assert session is not None
    return session


def ask(place: Place, key: str, *, model: str | None = None, stream: bool = False) -> httpx.Response:
    """One chat of a few words."""
    body = {
        "model": place.model if model is None else model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 64,
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{place.url.rstrip('/')}/v1/chat/completions", json=body, headers=headers, timeout=120)


def require_forgotten(place: Place, key: str) -> None:
    """The deleted key is good for nothing, at once or soon."""
    deadline_s = time.monotonic() + _FORGOTTEN_WITHIN_S
    while ask(place, key, model="a-model-of-nobody").status_code != 401:
        assert time.monotonic() < deadline_s, "a deleted key is still taken"
        time.sleep(1)


def require_rows(rows: tuple[Request, ...], key: str, whole: dict[str, Any], streamed: str) -> None:
    """Rows of the answers, with the figures that the client was told, and of what was refused."""
    assert {row.key_hash for row in rows} == {key_hash(key)}
    answered = [row for row in rows if row.status == "ok"]
    assert [row.streamed for row in answered] == [False, True]
    assert [row.surface for row in answered] == ["openai_chat", "openai_chat"]
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    told = [whole["usage"], next(chunk["usage"] for chunk in chunks if chunk.get("usage"))]
    figures = [(row.input_tokens, row.output_tokens) for row in answered]
    assert figures == [(usage["prompt_tokens"], usage["completion_tokens"]) for usage in told]
    assert answered[0].response_id == whole["id"]
    refused = [row for row in rows if row.status != "ok"]
    assert refused
    assert {row.input_tokens for row in refused} == {None}
