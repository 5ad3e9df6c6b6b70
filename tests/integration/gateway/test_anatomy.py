"""What a harness sent is measured on its way through the gateway, and no word of it is kept anywhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key
from tests.integration.stand_process import Project, StandProcess

PLANTED = (
    *("marmaladetool", "marmaladeschema", "marmaladesystem", "marmaladeprompt", "marmaladecall", "marmaladeresult"),
    *("bWFybWFsYWRlCg==", "marmaladelast"),
)
TOOL, SCHEMA, SYSTEM, PROMPT, CALL, RESULT, PICTURE, LAST = PLANTED
DECLARED = {"name": TOOL, "description": SCHEMA}
PARAMETERS = {"type": "object", "properties": {"text": {"type": "string", "description": SCHEMA}}}


class Turns(NamedTuple):
    """The same three turns on a surface: a prompt with a picture, a tool's result, and a last word."""

    surface: str
    frame: dict[str, Any]
    """What is sent each time: tools, and a system prompt that stands apart."""
    name: str
    """Of the list of messages."""
    messages: list[list[dict[str, Any]]]
    """What each turn adds."""
    system: str | None
    """The member of the frame that is the system prompt, if it is none of the messages."""


def _chat() -> Turns:
    call = {"id": "c1", "type": "function", "function": {"name": TOOL, "arguments": f'{{"text": "{CALL}"}}'}}
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    first: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": [{"type": "text", "text": PROMPT}, url]},
    ]
    second: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": RESULT},
    ]
    tools = [{"type": "function", "function": DECLARED | {"parameters": PARAMETERS}}]
    last = [{"role": "user", "content": LAST}]
    return Turns("openai_chat", {"tools": tools}, "messages", [first, second, last], None)


def _messages() -> Turns:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    mark = {"cache_control": {"type": "ephemeral"}}
    first = [{"role": "user", "content": [image, {"type": "text", "text": PROMPT} | mark]}]
    second = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": TOOL, "input": {"text": CALL}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": RESULT} | mark]},
    ]
    tools, system = [DECLARED | {"input_schema": PARAMETERS}], [{"type": "text", "text": SYSTEM} | mark]
    last = [{"role": "user", "content": LAST}]
    frame = {"tools": tools, "system": system, "max_tokens": 200}
    return Turns("anthropic_messages", frame, "messages", [first, second, last], "system")


def _responses() -> Turns:
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"}
    first = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}, image]}]
    second = [
        {"type": "function_call", "call_id": "c1", "name": TOOL, "arguments": f'{{"text": "{CALL}"}}'},
        {"type": "function_call_output", "call_id": "c1", "output": RESULT},
    ]
    tools = [{"type": "function", "strict": False, "parameters": PARAMETERS} | DECLARED]
    frame = {"tools": tools, "instructions": SYSTEM}
    last = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": LAST}]}]
    return Turns("openai_responses", frame, "input", [first, second, last], "instructions")


def _gemini() -> Turns:
    inline = {"inlineData": {"mimeType": "image/png", "data": PICTURE}}
    first = [{"role": "user", "parts": [{"text": PROMPT}, inline]}]
    second = [
        {"role": "model", "parts": [{"functionCall": {"name": TOOL, "args": {"text": CALL}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": TOOL, "response": {"output": RESULT}}}]},
    ]
    tools = [{"functionDeclarations": [DECLARED | {"parameters": PARAMETERS}]}]
    frame = {"tools": tools, "systemInstruction": {"parts": [{"text": SYSTEM}]}}
    last = [{"role": "user", "parts": [{"text": LAST}]}]
    return Turns("gemini", frame, "contents", [first, second, last], "systemInstruction")


TURNS = {turns.surface: turns for turns in (_chat(), _messages(), _responses(), _gemini())}


def bodies(turns: Turns, key: Key) -> Iterator[dict[str, Any]]:
    """A request for each turn; in the last the system prompt says more."""
    sent: list[dict[str, Any]] = []
    named = {} if turns.surface == "gemini" else {"model": key.model}
    for number, added in enumerate(turns.messages, start=1):
        sent += added
        body = copy.deepcopy({**named, **turns.frame, turns.name: sent})
        if turns.surface == "anthropic_messages" and number > 1:
            body["messages"][0]["content"][-1].pop("cache_control")  # the mark moves on to the newest message
        yield body if number < len(turns.messages) else _with_more_system(turns, body)


def _with_more_system(turns: Turns, body: dict[str, Any]) -> dict[str, Any]:
    if turns.system is None:
        body["messages"][0]["content"] += " more"
    elif turns.surface == "gemini":
        body["systemInstruction"]["parts"][0]["text"] += " more"
    elif turns.surface == "anthropic_messages":
        body["system"][0]["text"] += " more"
    else:
        body["instructions"] += " more"
    return body


class Worked(NamedTuple):
    """A session in which every surface was spoken on, and all that was printed of it."""

    key: Key
    rows: list[dict[str, Any]]
    document: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = lab.small_project(tmp_path_factory.mktemp("project"))
    lab.write_variants(project, ["cached"])
    return project


@pytest.fixture(scope="module")
def worked(project: Project, stand: StandProcess) -> Worked:
    key, sent = lab.open_session(project, "cached"), 0
    for turns in TURNS.values():
        for body in bodies(turns, key):
            url = stand.url + lab.path_of(turns.surface, key.model)
            answer = httpx.post(url, json=body, headers=key.headers, timeout=60)
            assert answer.status_code == 200, answer.text
            sent += 1
    counted = {"model": key.model, "messages": [{"role": "user", "content": PROMPT}]}
    url = f"{stand.url}{lab.PATHS['anthropic_messages']}/count_tokens"
    assert httpx.post(url, json=counted, headers=key.headers, timeout=60).status_code == 200
    refused = lab.ask(stand, key._replace(model="slow"), messages=[{"role": "user", "content": PROMPT}])
    assert refused.status_code == 403
    rows = lab.rows(project, key.session_id, sent + 2)
    page, document = (project.dyno("anatomy", key.session_id, *options) for options in ((), ("--json",)))
    shown = project.dyno("session", "show", key.session_id, "--requests", "--json")
    return Worked(key, rows, json.loads(document), page + document + shown)


@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
def test_parts_are_measured_turn_by_turn(worked: Worked, turns: Turns) -> None:
    first, second, last = (row for row in worked.rows if row["surface"] == turns.surface and row["prefix"] is not None)

    assert {row["tools"] for row in (first, second, last)} == {1}
    assert first["tools_bytes"] == second["tools_bytes"] == last["tools_bytes"] > len(TOOL + SCHEMA + SCHEMA)
    assert first["system_bytes"] == second["system_bytes"] == last["system_bytes"] - len(" more")
    assert first["media_bytes"] == second["media_bytes"] > len(PICTURE)
    assert [row["messages"] for row in (first, second, last)] == [1, 3, 4]
    assert first["history_bytes"] < second["history_bytes"] < last["history_bytes"]
    assert first["tool_results_bytes"] == 0
    assert second["tool_results_bytes"] == last["tool_results_bytes"] > len(RESULT)
    for row in (first, second, last):
        sizes = ("system", "tools", "history", "tool_results", "media")
        assert sum(row[f"{name}_bytes"] for name in sizes) <= row["request_bytes"]


@pytest.mark.parametrize("surface", TURNS)
def test_the_page_shows_where_the_prefix_broke(worked: Worked, surface: str) -> None:
    [conversation] = [each for each in worked.document["conversations"] if each["surface"] == surface]
    first, second, last = conversation["turns"]

    assert (conversation["purpose"], conversation["model"]) == ("work", "cached")
    assert (first["continues"], first["broken"]) == (None, None)
    assert (second["continues"], second["broken"]) == (first["request_key"], None)
    assert second["kept_bytes"] == first["prefix_bytes"]
    assert (last["continues"], last["broken"]["said"]) == (second["request_key"], "system block 1 changed")
    assert (last["kept_parts"], last["kept_bytes"]) == (1, last["bytes"]["tools"])
    assert last["cache_share"] == pytest.approx(1_000 / 1_200)  # by the script: 1,000 of 1,200 tokens were read
    assert sum(last["estimated_tokens"].values()) == pytest.approx(1_200, abs=2)  # each of four figures is rounded


def test_what_no_model_read_has_none(worked: Worked) -> None:
    others = [row for row in worked.rows if row["prefix"] is None]

    assert sorted((row["purpose"], row["status"]) for row in others) == [("token_count", "ok"), ("work", "rejected")]
    assert worked.document["unmeasured_requests"] == 1
    assert "1 request has no anatomy: refused by the stand" in worked.printed


def test_no_planted_word_is_anywhere(worked: Worked, project: Project) -> None:
    with lab.ledger(project) as ledger:
        assert ledger.execute("SELECT count(*) FROM request").fetchone()[0] > 0
        files = [path for path in project.home.rglob("*") if path.is_file()]
        assert {"ledger.sqlite", "ledger.sqlite-wal", "000001.jsonl", "gateway.log"} <= {path.name for path in files}
        held = {path: path.read_bytes() for path in files}
        dumped = "\n".join(ledger.iterdump())
    assert worked.key.session_id in dumped
    assert worked.key.session_id in worked.printed
    for word in (*PLANTED, "marmalade"):
        assert [path for path, content in held.items() if word.encode() in content] == []
        assert word not in dumped
        assert word not in worked.printed
