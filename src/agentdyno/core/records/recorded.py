"""Entities that the stand writes of sessions, their requests and their traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agentdyno.core.fields import Field

Purpose = Literal["work", "title", "summary", "probe", "small_model", "token_count", "model_list", "other"]
"""What a request is for. All but `work` are side calls; the last three are no inference."""
Outcome = Literal["completed", "aborted", "invalid"]
Phase = Literal["chosen", "created", "credentialed", "recorded", "rendered", "launched", "collected", "finalized"]
Status = Literal["ok", "provider_error", "proxy_error", "rejected", "client_disconnect", "timeout"]
UsageSource = Literal["provider", "proxy", "estimated"]
Issuer = Literal["gateway", "litellm"]
"""Who issues a session's key: the stand for its own gateway, or a LiteLLM deployment for itself."""


@dataclass(frozen=True)
class Session:
    """One execution of one task card under one variant."""

    session_id: Annotated[str, Field("time-ordered id", key=True)]
    phase: Annotated[Phase, Field("the last of the eight steps that was done")]
    variant: Annotated[str, Field("variant's name", index=True)]
    task_card: Annotated[str, Field("task card's name")]
    harness_profile: Annotated[str, Field("harness profile's name")]
    provider: Annotated[str, Field("provider's name")]
    model: Annotated[str, Field("model that the harness asks for")]
    variant_fingerprint: Annotated[str, Field("digest of variant, provider and harness profile together")]
    task_card_digest: Annotated[str, Field("digest of the task card", ref="task_card.digest")]
    created_at_us: Annotated[int, Field("when the row was created", unit="us")]
    expires_at_us: Annotated[int, Field("when its time-to-live ends", unit="us")]
    experiment: Annotated[str | None, Field("experiment's name", index=True)] = None
    small_model: Annotated[str | None, Field("model that the harness may ask for in side calls")] = None
    harness_profile_digest: Annotated[
        str | None, Field("digest of the harness profile", ref="harness_profile.digest")
    ] = None
    label: Annotated[str | None, Field("a person's own name for it")] = None
    launched_at_us: Annotated[
        int | None, Field("when the harness was launched, or its first request came", unit="us")
    ] = None
    ended_at_us: Annotated[int | None, Field("when it was finalized", unit="us")] = None
    outcome: Annotated[Outcome | None, Field("how it ended")] = None
    notes: Annotated[str | None, Field("a person's remarks at the end")] = None
    command_exit_code: Annotated[int | None, Field("exit code of the launched command; no evidence of success")] = None
    checks_passed: Annotated[int | None, Field("checks that held")] = None
    checks_total: Annotated[int | None, Field("checks that were run")] = None
    repository_root: Annotated[str | None, Field("root of the measured repository")] = None
    repository_branch: Annotated[str | None, Field("its branch; none when detached")] = None
    repository_commit: Annotated[str | None, Field("its commit")] = None
    repository_dirty: Annotated[bool | None, Field("whether it had uncommitted changes")] = None
    harness_binary: Annotated[str | None, Field("resolved path of the harness's program")] = None
    harness_version: Annotated[str | None, Field("what the harness says its version is")] = None
    agentdyno_version: Annotated[str | None, Field("version of agentdyno")] = None
    litellm_version: Annotated[str | None, Field("version of LiteLLM")] = None
    price_table_version: Annotated[str | None, Field("version of the price table")] = None
    os: Annotated[str | None, Field("operating system and kernel")] = None
    cpu: Annotated[str | None, Field("processor's name")] = None
    cpu_cores: Annotated[int | None, Field("logical cores")] = None
    memory_bytes: Annotated[int | None, Field("physical memory", unit="bytes")] = None
    gpu: Annotated[str | None, Field("accelerators' names")] = None
    gpu_driver: Annotated[str | None, Field("accelerators' driver version")] = None


@dataclass(frozen=True)
class Credential:
    """A session's short-lived, scoped right to use the gateway. The key itself is nowhere: only its hash."""

    key_hash: Annotated[str, Field("SHA-256 of the key, hex", key=True)]
    session_id: Annotated[str, Field("session", index=True, ref="session.session_id")]
    alias: Annotated[str, Field("readable name of the key")]
    created_at_us: Annotated[int, Field("when it was issued", unit="us")]
    expires_at_us: Annotated[int, Field("when it stops working by itself", unit="us")]
    revoked_at_us: Annotated[int | None, Field("when it was revoked", unit="us")] = None
    issuer: Annotated[Issuer, Field("who issued it: this stand, or a LiteLLM deployment")] = "gateway"


@dataclass(frozen=True)
class Request:
    """One normalized LLM call seen by the gateway."""

    request_key: Annotated[str, Field("stable key, given at the ingress; also LiteLLM's call id", key=True)]
    session_id: Annotated[str | None, Field("session; none when the key was unknown", index=True)]
    experiment: Annotated[str | None, Field("experiment's name")]
    variant: Annotated[str | None, Field("variant's name")]
    task_card: Annotated[str | None, Field("task card's name")]
    key_hash: Annotated[str | None, Field("credential")]
    key_alias: Annotated[str | None, Field("credential's alias")]
    surface: Annotated[str | None, Field("wire protocol; none for a path that is not inference")]
    purpose: Annotated[Purpose, Field("what it was for: the harness's work, or a side call")]
    path: Annotated[str | None, Field("path of the HTTP request; none where only a log tells of it")]
    streamed: Annotated[bool, Field("whether the harness asked for a stream")]
    model_requested: Annotated[str | None, Field("model that the harness named")]
    model_served: Annotated[str | None, Field("model that the answer named")]
    provider: Annotated[str | None, Field("provider's name")]
    litellm_call_id: Annotated[str | None, Field("LiteLLM's call id, when it took the request")]
    provider_request_id: Annotated[str | None, Field("provider's own request id, from its headers")]
    response_id: Annotated[str | None, Field("id inside the answer")]
    started_at_us: Annotated[int, Field("first byte of the request in, UTC", unit="us", index=True)]
    ended_at_us: Annotated[int, Field("last byte of the response out, UTC", unit="us")]
    latency_ms: Annotated[float | None, Field("request's first byte in to response's last byte out", unit="ms")]
    ttft_ms: Annotated[float | None, Field("to the first content delta; only of streams", unit="ms")]
    provider_latency_ms: Annotated[float | None, Field("the same at the egress, over all attempts", unit="ms")]
    provider_ttft_ms: Annotated[float | None, Field("the same at the egress, of the last attempt", unit="ms")]
    proxy_overhead_ms: Annotated[float | None, Field("latency less provider latency", unit="ms")]
    status: Annotated[Status, Field("how it ended")]
    http_status: Annotated[int | None, Field("HTTP status that the harness was told")]
    error_code: Annotated[str | None, Field("error's own code or type, as on the wire")]
    error_class: Annotated[str | None, Field("what kind of error, in the stand's words")]
    finish_reason: Annotated[str | None, Field("why the model stopped, as on the wire")]
    input_tokens: Annotated[int | None, Field("prompt tokens, cached ones included", unit="tokens")]
    output_tokens: Annotated[int | None, Field("generated tokens, reasoning included", unit="tokens")]
    cache_read_tokens: Annotated[int | None, Field("part of the input read from the provider's cache", unit="tokens")]
    cache_write_tokens: Annotated[int | None, Field("part of the input written to the provider's cache", unit="tokens")]
    reasoning_tokens: Annotated[int | None, Field("part of the output that was reasoning", unit="tokens")]
    usage_source: Annotated[UsageSource | None, Field("whose numbers the tokens are")]
    tool_calls: Annotated[int | None, Field("tool calls in the answer")]
    attempts: Annotated[int | None, Field("attempts at the provider; none when they went round the meter")]
    cost_usd: Annotated[float | None, Field("price of the tokens; none when unknown", unit="usd")]
    price_table_version: Annotated[str | None, Field("version of the price table")]
    request_bytes: Annotated[int | None, Field("size of the request's body", unit="bytes")]
    response_bytes: Annotated[int | None, Field("size of the response's body", unit="bytes")]
    system_bytes: Annotated[int | None, Field("size of the system prompt", unit="bytes")]
    tools: Annotated[int | None, Field("how many tools were offered")]
    tools_bytes: Annotated[int | None, Field("size of their definitions", unit="bytes")]
    history_bytes: Annotated[int | None, Field("size of what was said, tool calls included", unit="bytes")]
    tool_results_bytes: Annotated[int | None, Field("size of tool results", unit="bytes")]
    media_bytes: Annotated[int | None, Field("size of pictures and other files", unit="bytes")]
    messages: Annotated[int | None, Field("how many messages were sent")]
    prefix: Annotated[str | None, Field("its parts as a cache reads them, JSON array: kind, bytes, keyed digest")]
    tags: Annotated[str, Field("request tags, JSON array")]
    harness_ids: Annotated[str, Field("ids of its own that the harness sent, JSON object by header")]
    discrepancies: Annotated[str, Field("where the three witnesses differ, and why, JSON array")]
    gateway_id: Annotated[str, Field("run of the gateway that saw it")]
    records: Annotated[int, Field("how many spool records this row was made from")]
    late: Annotated[bool, Field("came after its session was finalized")]
    normalizer_version: Annotated[int, Field("version of the function that made this row")]
    record_digest: Annotated[str, Field("digest of the spool records that this row was made from")]


@dataclass(frozen=True)
class Step:
    """One recorded action of a session, from its trace."""

    step_id: Annotated[str, Field("session's id and the position in its trace", key=True)]
    session_id: Annotated[str, Field("session", index=True, ref="session.session_id")]
    sequence: Annotated[int, Field("position in the session's trace")]
    at_us: Annotated[int, Field("when it began", unit="us")]
    kind: Annotated[str, Field("tool_call, action, …")]
    name: Annotated[str, Field("name of the tool or action")]
    duration_ms: Annotated[float | None, Field("how long it took", unit="ms")] = None
    ok: Annotated[bool | None, Field("whether it succeeded")] = None
    request_key: Annotated[str | None, Field("request that asked for it", ref="request.request_key")] = None


@dataclass(frozen=True)
class TraceMetric:
    """One value that a session's trace gave a name and a unit."""

    session_id: Annotated[str, Field("session", key=True, ref="session.session_id")]
    sequence: Annotated[int, Field("position in the session's trace", key=True)]
    at_us: Annotated[int, Field("when it was measured", unit="us")]
    name: Annotated[str, Field("metric's name", index=True)]
    unit: Annotated[str, Field("its unit")]
    value: Annotated[float, Field("its value")]


@dataclass(frozen=True)
class MetricRollup:
    """The sorted values of one metric over one closed session's requests of one model and status.

    A metric of its trace is of no model, and its status is ok.
    """

    session_id: Annotated[str, Field("session", key=True, ref="session.session_id")]
    model: Annotated[str, Field("model that the harness named; empty when it named none", key=True)]
    status: Annotated[Status, Field("status of the requests", key=True)]
    metric: Annotated[str, Field("metric's name", key=True)]
    n: Annotated[int, Field("how many values")]
    total: Annotated[float, Field("their exact sum, rounded once")]
    values: Annotated[bytes, Field("the values: sorted little-endian float64")]
    digest: Annotated[str, Field("digest of the values")]


@dataclass(frozen=True)
class Artifact:
    """An exported report or a raw bundle. Not written yet."""

    digest: Annotated[str, Field("digest of the file", key=True)]
    kind: Annotated[str, Field("report, bundle, …")]
    path: Annotated[str, Field("where it was written")]
    size_bytes: Annotated[int, Field("its size", unit="bytes")]
    created_at_us: Annotated[int, Field("when it was written", unit="us")]
    session_id: Annotated[str | None, Field("session", index=True)] = None
    experiment: Annotated[str | None, Field("experiment's name")] = None


@dataclass(frozen=True)
class SpoolCursor:
    """How far the records of one gateway run are in the ledger."""

    gateway_id: Annotated[str, Field("run of the gateway", key=True)]
    segment: Annotated[int, Field("number of the segment")]
    offset_bytes: Annotated[int, Field("bytes of it that are settled", unit="bytes")]
    closed: Annotated[bool, Field("the gateway is gone and everything was read")]


@dataclass(frozen=True)
class UnreadableRecord:
    """A spool record that could not be normalized: kept as a row, so that it is counted."""

    gateway_id: Annotated[str, Field("run of the gateway", key=True)]
    segment: Annotated[int, Field("number of the segment", key=True)]
    offset_bytes: Annotated[int, Field("where it begins", unit="bytes", key=True)]
    size_bytes: Annotated[int, Field("its length", unit="bytes")]
    digest: Annotated[str, Field("digest of its bytes")]
    reason: Annotated[str, Field("why it could not be read")]
