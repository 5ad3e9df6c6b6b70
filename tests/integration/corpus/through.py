"""The corpus through a real gateway: a stand whose providers are the corpus's own, and a client that plays along."""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.corpus.case import MODEL, Case
from tests.corpus.counting import Counted, counted
from tests.corpus.provider import CorpusProvider, Served
from tests.integration.gateway import lab
from tests.integration.stand_process import Project, StandProcess

CASE_HEADER = "x-corpus-case"
"""In it the client says the case, as an id of its own: so the row has it too."""
WORKERS = 4
_PATIENCE_S = 60.0
_PROFILE = f"""\
surface: openai_chat
env: {{OPENAI_API_KEY: "${{session_key}}"}}
id_headers: [{CASE_HEADER}]
"""


class Upstream(NamedTuple):
    """The corpus as a provider of the stand: how LiteLLM reaches it for each surface that a harness may use."""

    name: str
    routes: Mapping[str, Mapping[str, str]]
    options: Mapping[str, str] = {}


class Ask(NamedTuple):
    """A request for a case, once or as often as the client would ask, on any surface."""

    case: Case
    upstream: str
    path: str
    body: Mapping[str, Any]
    name: str
    """As its prompt names it: by this its rows are found, and what the provider served."""
    times: int = 1


class Answer(NamedTuple):
    """What the client was told, as far as it stayed."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes


class Seen(NamedTuple):
    """All that was seen of one ask: by the client, by the provider, by LiteLLM, and in the ledger."""

    answers: list[Answer]
    served: list[Served]
    reports: list[dict[str, Any]]
    """LiteLLM's own records, of all rows together."""
    told: list[Counted]
    """The tokens that stood on the harness's wire, row by row."""
    rows: list[dict[str, Any]]


NATIVE: Mapping[str, Mapping[str, str]] = {
    "openai_chat": {"litellm_provider": "openai", "path": "/v1"},
    "openai_responses": {"litellm_provider": "openai", "path": "/v1"},
    "anthropic_messages": {"litellm_provider": "anthropic"},
    "gemini": {"litellm_provider": "gemini"},
}


def corpus_project(folder: Path, provider: CorpusProvider, upstreams: Sequence[Upstream]) -> Project:
    """A project with these providers and a variant for each."""
    project = lab.small_project(folder)
    for path in [*(folder / "configs" / "providers").iterdir(), *(folder / "configs" / "variants").iterdir()]:
        path.unlink()
    for path in (folder / "configs" / "experiments").iterdir():
        path.unlink()
    project.write("configs/harness_profiles/corpus.yaml", _PROFILE)
    for upstream in upstreams:
        entity = {"base_url": provider.url, "models": [MODEL], "routes": upstream.routes, "options": upstream.options}
        project.write(f"configs/providers/{upstream.name}.yaml", json.dumps(entity))
        variant = {"provider": upstream.name, "model": MODEL, "harness_profile": "corpus"}
        project.write(f"configs/variants/{upstream.name}-{MODEL}.yaml", json.dumps(variant))
    return project


def run(project: Project, provider: CorpusProvider, upstreams: Sequence[Upstream], asks: Sequence[Ask]) -> list[Seen]:
    """Ask everything, some at once, and stop the stand: then all that was seen is in the ledger."""
    with StandProcess(project) as stand, ThreadPoolExecutor(WORKERS) as pool:
        names = [upstream.name for upstream in upstreams]
        opened = pool.map(lambda name: lab.open_session(project, MODEL, provider=name), names)
        keys = dict(zip(names, opened, strict=True))
        told = list(pool.map(lambda ask: _ask(stand.url, keys[ask.upstream].secret, provider, ask), asks))
        served = [provider.served_of(ask.name) for ask in asks]
    rows, records = _rows(project), _records(project)
    return [
        Seen(
            answers,
            counts,
            [record for row in rows[ask.name] for record in records["routed"][row["request_key"]]],
            [_told(record) for row in rows[ask.name] for record in records["answered"][row["request_key"]]],
            rows[ask.name],
        )
        for ask, answers, counts in zip(asks, told, served, strict=True)
    ]


def _ask(url: str, secret: str, provider: CorpusProvider, ask: Ask) -> list[Answer]:
    return [_ask_once(url, secret, provider, ask) for _ in range(ask.times)]


def _ask_once(url: str, secret: str, provider: CorpusProvider, ask: Ask) -> Answer:
    address = urlsplit(url)
    assert address.hostname is not None
    connection = HTTPConnection(address.hostname, address.port, timeout=_PATIENCE_S)
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json", CASE_HEADER: ask.name}
    with contextlib.closing(connection):
        connection.request("POST", ask.path, json.dumps(ask.body).encode(), headers)
        if ask.case.client_leaves == "before_first_chunk" or (ask.case.client_leaves and not ask.case.streamed):
            _await_provider(provider, ask)
            return Answer(None, {}, b"")
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        body = _first_piece(response, ask.case) if ask.case.client_leaves else _read(response)
        return Answer(response.status, told, body)


def _await_provider(provider: CorpusProvider, ask: Ask) -> None:
    """Until the provider has sent all that it will."""
    silent_at_once = ask.case.last.parts[0].silent
    deadline = time.monotonic() + _PATIENCE_S
    while not any(one.ask == ask.name and (silent_at_once or one.body_bytes) for one in list(provider.served)):
        assert time.monotonic() < deadline, f"the provider was never asked for {ask.name}"
        time.sleep(0.005)


def _read(response: HTTPResponse) -> bytes:
    """All of an answer, or as much as came."""
    try:
        return response.read()
    except IncompleteRead as cut:
        return cut.partial


def _first_piece(response: HTTPResponse, case: Case) -> bytes:
    """A stream up to the end of its first piece of text."""
    text = case.last.parts[0].text
    assert text is not None
    word, body = text[0].encode(), b""
    while word not in body and (piece := response.read1()):
        body += piece
    return body


def _rows(project: Project) -> Mapping[str, list[dict[str, Any]]]:
    """The rows of each ask, in the order of their requests."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with lab.ledger(project) as ledger:
        for row in ledger.execute("SELECT * FROM request ORDER BY started_at_us"):
            found[json.loads(row["harness_ids"])[CASE_HEADER]].append(dict(row))
    return found


def _records(project: Project) -> Mapping[str, Mapping[str, list[dict[str, Any]]]]:
    """What the spool has of LiteLLM's reports and of answers, by request."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {kind: defaultdict(list) for kind in ("routed", "answered")}
    for record in lab.spool_records(project):
        if record["kind"] in found:
            request = record if record["kind"] == "routed" else record["entered"]
            found[record["kind"]][request["request_key"]].append(record)
    return found


def _told(answered: Mapping[str, Any]) -> Counted:
    whole = bool(answered.get("complete"))
    return counted(answered["entered"]["surface"], answered.get("usages", []), whole=whole)


def native_asks(cases: Iterable[Case], upstream_of: Mapping[str, str]) -> list[Ask]:
    """Each case on its own surface, as often as it has rows; by the provider that has its options."""
    return [
        Ask(case, upstream_of[json.dumps(case.options)], case.path, case.request, case.name, len(case.rows))
        for case in cases
    ]
