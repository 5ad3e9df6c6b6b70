"""What the egress meter sees of providers, through the real gateway: every body, and who hangs up on whom."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key, body, path_of, rows
from tests.integration.gateway.wire_provider import (
    MODEL,
    REQUEST_ID,
    TOLD,
    WORD,
    Served,
    WireProvider,
    prompt,
    provider_yaml,
)
from tests.integration.stand_process import Project, StandProcess

KINDS = list(product(lab.PATHS, (False, True)))
ENCODINGS = ("identity", "gzip", "deflate", "raw-deflate", "br", "zstd")
OWN_ROUTES = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini": "gemini",
}
"""Each surface at a provider that speaks it."""
OTHERS = {
    "vllm": {"openai_chat": "hosted_vllm"},
    "retold": {
        "openai_chat": "anthropic",
        "openai_responses": "gemini",
        "anthropic_messages": "hosted_vllm",
        "gemini": "anthropic",
    },
}
"""Providers by other prefixes, and surfaces at providers that speak another."""
AROUND = ("aiohttp_openai", "amazon_nova", "maritalk", "oobabooga")
"""What LiteLLM asks by clients of its own, in a task, or in a thread."""
PASSED = "passed"
MOMENT_S = 2.0
"""Far less than any timeout, and enough for a machine that does other work."""


@pytest.fixture(scope="module")
def provider() -> Iterator[WireProvider]:
    with WireProvider() as running:
        yield running


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, provider: WireProvider) -> Project:
    project = lab.small_project(tmp_path_factory.mktemp("project"))
    passed = {PASSED: OWN_ROUTES, **{name: {"openai_chat": name} for name in AROUND}}
    for name, routes in {"wire": OWN_ROUTES, **OTHERS, **passed}.items():
        metering = "metering: pass_through\n" if name in passed else ""
        project.write(f"configs/providers/{name}.yaml", provider_yaml(provider.url, routes) + metering)
        lab.write_variants(project, [MODEL], provider=name)
    # One of them as its user would have it who does not know of the pass-through.
    project.write("configs/providers/unseen.yaml", provider_yaml(provider.url, {"openai_chat": "amazon_nova"}))
    signed = provider_yaml(provider.url, {"openai_chat": "bedrock/converse"})
    project.write("configs/providers/signed.yaml", signed + "options: {aws_region_name: us-east-1}\n")
    for name in ("unseen", "signed"):
        lab.write_variants(project, [MODEL], provider=name)
    return project


@pytest.fixture(scope="module")
def stand(project: Project) -> Iterator[StandProcess]:
    """The stand of that project, with what it takes to sign requests."""
    with StandProcess(project, AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="a-secret") as running:
        yield running


def open_session(project: Project, provider: str = "wire") -> Key:
    return lab.open_session(project, MODEL, provider=provider)


def ask(stand: StandProcess, key: Key, surface: str = "openai_chat", manner: str = "gzip", **more: bool) -> None:
    """Ask for an answer in that manner, and read it."""
    answer = lab.ask(stand, key, surface, **more, **prompt(surface, manner))
    assert (answer.status_code, WORD in answer.text) == (200, True), (surface, manner, answer.text)


def told(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says that the provider told."""
    return {name: row[name] for name in TOLD if name != "reasoning_tokens" or row[name] is not None}


def expected(upstream: str) -> dict[str, int]:
    """What the provider told. Messages do not tell their reasoning."""
    return {name: count for name, count in TOLD.items() if name != "reasoning_tokens" or upstream != "anthropic"}


def test_compressed_or_not_litellm_reads_it_and_so_does_the_meter(project: Project, stand: StandProcess) -> None:
    key, asked = open_session(project), list(product(ENCODINGS, KINDS))
    for encoding, (surface, stream) in asked:
        ask(stand, key, surface, encoding, stream=stream)
    found = rows(project, key.session_id, len(asked), settled=True)
    for row, (encoding, (surface, stream)) in zip(found, asked, strict=True):
        assert (row["surface"], row["streamed"], row["status"]) == (surface, stream, "ok")
        assert told(row) == expected(OWN_ROUTES[surface]), (encoding, surface, stream)
        assert (row["usage_source"], row["attempts"], row["provider_request_id"]) == ("provider", 1, REQUEST_ID)
        assert 0 < row["provider_latency_ms"] < row["latency_ms"]


@pytest.mark.parametrize("name", OTHERS)
def test_translated_or_not_the_providers_own_numbers_count(project: Project, stand: StandProcess, name: str) -> None:
    key = open_session(project, name)
    kinds = list(product(OTHERS[name], (False, True)))
    for surface, stream in kinds:
        ask(stand, key, surface, stream=stream)
    for row, (surface, stream) in zip(rows(project, key.session_id, len(kinds), settled=True), kinds, strict=True):
        assert told(row) == expected(OTHERS[name][surface]), (surface, stream)
        assert (row["usage_source"], row["attempts"]) == ("provider", 1)


# ── hanging up ───────────────────────────────────────────────────────────────────────────────────────────────────────


def begin(stand: StandProcess, key: Key, surface: str, manner: str, *, stream: bool) -> socket.socket:
    """A request on a connection of its own, which takes little in before it is read."""
    content = json.dumps({**body(key, surface, stream=stream), **prompt(surface, manner)}).encode()
    head = (
        f"POST {path_of(surface, key.model, stream=stream)} HTTP/1.1\r\nhost: gateway\r\n"
        f"authorization: Bearer {key.secret}\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    connection.settimeout(30)
    host, _, port = stand.url.removeprefix("http://").partition(":")
    connection.connect((host, int(port)))
    connection.sendall(head.encode() + content)
    return connection


def leave(stand: StandProcess, provider: WireProvider, key: Key, surface: str, manner: str, *, stream: bool) -> None:
    """Ask, and hang up when the provider was asked and, where the answer comes in parts, the first of them came."""
    before = len(provider.served)
    with begin(stand, key, surface, manner, stream=stream) as connection:
        served = lab.wait_for("the provider to be asked", lambda: next(iter(provider.served[before:]), None))
        if stream and manner == "halts":
            assert connection.recv(1)
    left_at = time.monotonic()
    wait_until_hung_up(served)
    assert time.monotonic() - left_at < MOMENT_S


@pytest.mark.parametrize("name", ["wire", PASSED])
def test_a_harness_that_leaves_stops_the_call_to_the_provider(
    project: Project, stand: StandProcess, provider: WireProvider, name: str
) -> None:
    key, left = open_session(project, name), list(product(("silent", "halts"), KINDS))
    for manner, (surface, stream) in left:
        leave(stand, provider, key, surface, manner, stream=stream)
    for row, (_, (surface, stream)) in zip(rows(project, key.session_id, len(left)), left, strict=True):
        assert (row["surface"], row["streamed"], row["status"]) == (surface, stream, "client_disconnect")
        assert row["attempts"] == 1


def test_a_reader_that_waits_makes_the_provider_wait(
    project: Project, stand: StandProcess, provider: WireProvider
) -> None:
    key = open_session(project)
    for surface in lab.PATHS:
        before = len(provider.served)
        with begin(stand, key, surface, "floods", stream=True) as connection:
            assert connection.recv(4096)
            (served,) = provider.served[before:]
            held_bytes = standing_bytes(served)
            # What the system's own buffers hold on the two ways there are, of some megabytes each.
            assert held_bytes < 24 * 2**20
            while served.sent_bytes == held_bytes:
                assert connection.recv(64 * 1024)
        wait_until_hung_up(served)


def standing_bytes(served: Served) -> int:
    """How much was sent, once no more of it is taken for a while."""
    before = -1
    while before < served.sent_bytes:
        before = served.sent_bytes
        time.sleep(0.5)
    return before


def wait_until_hung_up(served: Served) -> None:
    lab.wait_for("the provider to be hung up on", lambda: served.hung_up)


# ── the pass-through ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_pass_through_changes_no_byte_and_meters_them_all(
    project: Project, stand: StandProcess, provider: WireProvider
) -> None:
    asked, keys = [], [open_session(project, name) for name in ("wire", PASSED)]
    for key in keys:
        before = len(provider.served)
        for surface, stream in KINDS:
            ask(stand, key, surface, "br", stream=stream)
        asked.append(provider.served[before:])
    for direct, passed in zip(*asked, strict=True):
        assert (passed.path, passed.body) == (direct.path, direct.body)
        assert passed.headers.keys() ^ direct.headers.keys() <= {"connection"}
        assert passed.headers["host"] == direct.headers["host"]
    for row, (surface, _) in zip(rows(project, keys[1].session_id, len(KINDS), settled=True), KINDS, strict=True):
        assert told(row) == expected(OWN_ROUTES[surface])
        assert (row["usage_source"], row["attempts"], row["provider_request_id"]) == ("provider", 1, REQUEST_ID)
    reports = [r for r in lab.spool_records(project) if r["kind"] == "routed"]
    addresses = {r["api_base"] for r in reports if r["litellm_provider"] == "gemini"}
    assert all(address.startswith(provider.url) for address in addresses), addresses  # and none that passes


@pytest.mark.parametrize("name", AROUND)
def test_a_provider_that_litellm_asks_by_another_client(
    project: Project, stand: StandProcess, provider: WireProvider, name: str
) -> None:
    key = open_session(project, name)
    ask(stand, key)
    # Where LiteLLM waits in a thread, which nobody can cancel, the pass-through hangs up.
    leave(stand, provider, key, "openai_chat", "silent", stream=False)
    answered, left = rows(project, key.session_id, 2)
    assert told(answered) == expected(name)
    assert (answered["usage_source"], answered["provider_request_id"]) == ("provider", REQUEST_ID)
    assert (answered["attempts"], left["attempts"], left["status"]) == (1, 1, "client_disconnect")


def test_without_it_such_a_providers_rows_say_whose_numbers_they_have(project: Project, stand: StandProcess) -> None:
    key = open_session(project, "unseen")
    ask(stand, key)
    (row,) = rows(project, key.session_id, 1, settled=True)
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", 31, 17)
    assert (row["usage_source"], row["provider_latency_ms"]) == ("proxy", None)


def test_a_signed_request_is_metered_but_for_what_no_dialect_reads(
    project: Project, stand: StandProcess, provider: WireProvider
) -> None:
    key = open_session(project, "signed")
    ask(stand, key, manner="identity")
    assert provider.served[-1].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")
    (row,) = rows(project, key.session_id, 1, settled=True)
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", 31, 17)
    assert (row["usage_source"], row["attempts"], row["provider_request_id"]) == ("proxy", 1, REQUEST_ID)
    assert 0 < row["provider_latency_ms"] < row["latency_ms"]
