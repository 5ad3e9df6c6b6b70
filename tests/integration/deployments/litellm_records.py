"""What a LiteLLM proxy with a database keeps, in the shapes of its public contract: virtual keys and spend logs.

Fields and their defaults are those of its tables `LiteLLM_VerificationToken` and `LiteLLM_SpendLogs`; what is put into
`metadata` is what its logging puts there. A log is written some time after its request, as a proxy does that writes
in batches.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HEAVY = ("messages", "response", "proxy_server_request")
"""Columns that may hold what was said, and that `/spend/logs/v2` leaves out."""


def hash_token(token: str) -> str:
    """The hash under which the proxy knows a key."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass
class VirtualKey:
    """A row of the table of keys. The key itself is handed out once."""

    token: str
    key_name: str
    key_alias: str | None
    models: list[str]
    metadata: dict[str, Any]
    expires: datetime | None
    allowed_routes: list[str]
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def expired(self) -> bool:
        """Whether its duration is over."""
        return self.expires is not None and self.expires < datetime.now(UTC)


def new_key(asked: dict[str, Any]) -> tuple[str, VirtualKey]:
    """A key and its row, as `POST /key/generate` makes them of its body."""
    key = asked.get("key") or f"sk-{secrets.token_urlsafe(16)}"
    duration = asked.get("duration")
    seconds = None if duration is None else int(duration[:-1]) * _UNITS[duration[-1]]
    inference_only = asked.get("key_type") == "llm_api"
    row = VirtualKey(
        token=hash_token(key),
        key_name=f"sk-...{key[-4:]}",
        key_alias=asked.get("key_alias"),
        models=asked.get("models") or [],
        metadata=asked.get("metadata") or {},
        expires=None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds),
        allowed_routes=["llm_api_routes"] if inference_only else [],
    )
    return key, row


@dataclass
class Call:
    """A request that was answered, or refused, as its log needs it."""

    call_type: str
    api_key: str
    key_alias: str | None
    model: str
    model_group: str
    began: datetime
    first_piece: datetime
    ended: datetime
    said: str
    request_id: str
    call_id: str
    usage: dict[str, Any] = field(default_factory=dict)
    spend: float = 0.0
    error: dict[str, Any] | None = None


def spend_log(call: Call) -> dict[str, Any]:
    """The row of a call. Content is kept, as where an operator has asked for it."""
    failed = call.error is not None
    prompt, completion = call.usage.get("prompt_tokens", 0), call.usage.get("completion_tokens", 0)
    details = call.usage.get("prompt_tokens_details") or {}
    additional = {key: value for key, value in call.usage.items() if key not in ("prompt_tokens", "completion_tokens")}
    if details.get("cached_tokens"):
        additional["cache_read_input_tokens"] = details["cached_tokens"]
    return {
        "request_id": call.request_id,
        "call_type": call.call_type,
        "api_key": call.api_key,
        "spend": call.spend,
        "total_tokens": prompt + completion,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "startTime": call.began,
        "endTime": call.ended,
        "request_duration_ms": int((call.ended - call.began).total_seconds() * 1000),
        "completionStartTime": call.first_piece,
        "model": call.model,
        "model_id": "" if failed else hash_token(call.model),
        "model_group": call.model_group,
        "custom_llm_provider": "" if failed else "openai",
        "api_base": "" if failed else "https://models.example.org/v1",
        "user": "default_user_id",
        "metadata": {
            "status": "failure" if failed else "success",
            "user_api_key": call.api_key,
            "user_api_key_alias": call.key_alias,
            "usage_object": call.usage or None,
            "additional_usage_values": additional,
            "error_information": call.error,
            "attempted_retries": 0,
            "max_retries": 0,
            "litellm_call_id": call.call_id,
        },
        "cache_hit": "False",
        "cache_key": "Cache OFF",
        "request_tags": [],
        "team_id": "",
        "organization_id": "",
        "end_user": "",
        "requester_ip_address": "127.0.0.1",
        "messages": [{"role": "user", "content": call.said}],
        "response": {} if failed else {"choices": [{"message": {"role": "assistant", "content": call.said}}]},
        "session_id": call.call_id,
        "status": "failure" if failed else "success",
        "mcp_namespaced_tool_name": None,
        "agent_id": None,
        "proxy_server_request": {"messages": [{"role": "user", "content": call.said}]},
        "litellm_call_id": call.call_id,
    }


class SpendLogs:
    """The table of logs, into which each comes some time after its request."""

    def __init__(self, written_after_s: float) -> None:
        self.written_after_s = written_after_s
        self._rows: list[tuple[float, dict[str, Any]]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Log a call, to be written later."""
        self._rows.append((time.monotonic() + self.written_after_s, row))

    def write_all(self) -> None:
        """Write what waits, at once."""
        self._rows = [(0.0, row) for _, row in self._rows]

    def of(self, api_key: str | None) -> list[dict[str, Any]]:
        """What is written by now of a key, by its hash or itself; of all keys where none is named."""
        wanted = hash_token(api_key) if api_key is not None and api_key.startswith("sk-") else api_key
        now_s = time.monotonic()
        written = [row for written_s, row in self._rows if written_s <= now_s]
        return [row for row in written if wanted is None or row["api_key"] == wanted]

    def all_of(self, alias: str) -> list[dict[str, Any]]:
        """For tests: everything that was ever logged of the keys with an alias, written or not."""
        return [row for _, row in self._rows if row["metadata"]["user_api_key_alias"] == alias]


def as_model(row: dict[str, Any]) -> dict[str, Any]:
    """A log as `/spend/logs` gives it: the whole row, times in UTC."""
    return {name: _iso(value, "Z") if isinstance(value, datetime) else value for name, value in row.items()}


def as_listed(row: dict[str, Any]) -> dict[str, Any]:
    """A log as `/spend/logs/v2` lists it: without heavy columns, one JSON column still as text."""
    listed = {name: _iso(value, "+00:00") if isinstance(value, datetime) else value for name, value in row.items()}
    listed["request_tags"] = json.dumps(row["request_tags"])
    return {name: value for name, value in listed.items() if name not in _HEAVY}


def _iso(moment: datetime, zone: str) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}{zone}"
