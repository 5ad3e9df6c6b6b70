"""Requests whose harness speaks another surface than their provider: LiteLLM translates between the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.corpus.case import MODEL, Case
from tests.corpus.counting import Counted
from tests.corpus.provider import CorpusProvider
from tests.integration.corpus.through import NATIVE, Ask, Seen, Upstream
from tests.integration.gateway import lab

from agentdyno.core.records import Surface

_PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
_TOOL = {"name": "read_file"}
_TOOLS: Mapping[Surface, list[dict[str, Any]]] = {
    "openai_chat": [{"type": "function", "function": {**_TOOL, "parameters": _PARAMETERS}}],
    "openai_responses": [{"type": "function", **_TOOL, "parameters": _PARAMETERS}],
    "anthropic_messages": [{**_TOOL, "input_schema": _PARAMETERS}],
    "gemini": [{"functionDeclarations": [{**_TOOL, "parametersJsonSchema": _PARAMETERS}]}],
}
UPSTREAMS = [
    Upstream("native", NATIVE),
    Upstream("retrying", NATIVE, {"num_retries": "1"}),
    Upstream("impatient", NATIVE, {"timeout": "1"}),
    Upstream("openai", {surface: {"litellm_provider": "openai", "path": "/v1"} for surface in NATIVE}),
    Upstream("vllm", {surface: {"litellm_provider": "hosted_vllm", "path": "/v1"} for surface in NATIVE}),
    Upstream("anthropic", {surface: {"litellm_provider": "anthropic"} for surface in NATIVE}),
    Upstream("google", {surface: {"litellm_provider": "gemini"} for surface in NATIVE}),
]
"""Of OpenAI's own servers LiteLLM asks for responses where a harness speaks messages, of vLLM's for chats."""


def crossing(surface: Surface, upstream: str, case: Case) -> Ask:
    """A case of the provider's surface, asked for by a harness that speaks another one, or the same."""
    name = f"{case}/from-{surface}-over-{upstream}"
    return Ask(case, upstream, lab.path_of(surface, MODEL, stream=case.streamed), _body(surface, case, name), name)


def _body(surface: Surface, case: Case, name: str) -> dict[str, Any]:
    prompt = f"corpus:{name} Hello."
    tools = {"tools": _TOOLS[surface]} if "tool_call" in case.situation else {}
    if surface == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **tools}
    if surface == "openai_responses":
        return {"model": MODEL, "input": prompt, "stream": case.streamed, **tools}
    messages = [{"role": "user", "content": prompt}]
    asks_usage = surface == "openai_chat" and case.streamed
    options = {"stream_options": {"include_usage": True}} if asks_usage else {}
    return {"model": MODEL, "max_tokens": 1500, "messages": messages, "stream": case.streamed, **options, **tools}


def tokens_of(row: Mapping[str, Any]) -> Counted:
    """The tokens of a row."""
    return Counted(*(row[name] for name in Counted._fields))


def reported(record: Mapping[str, Any]) -> Counted:
    """The tokens that LiteLLM's own record has, by the names that it gives them."""
    usage = record.get("usage") or {}
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return Counted(
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        prompt.get("cached_tokens"),
        prompt.get("cache_write_tokens"),
        completion.get("reasoning_tokens"),
    )


def show(provider: CorpusProvider, seen: Mapping[str, Seen]) -> None:
    """A table of what each witness says of each ask; `-s` has pytest show it."""
    table = Table(
        "ask", "witness", "in", "out", "read", "written", "reasoning", "ending", title="LiteLLM and the truth"
    )
    for name, found in seen.items():
        lines = [("provider", provider.counted(one), str(one.status)) for one in found.served]
        lines += [("row", tokens_of(row), f"{row['status']} {row['error_class'] or ''}") for row in found.rows]
        lines += [("harness", told, "") for told in found.told]
        lines += [("LiteLLM", reported(record), record["status"]) for record in found.reports]
        for number, (witness, tokens, ending) in enumerate(lines):
            last = number == len(lines) - 1
            table.add_row("" if number else name, witness, *_shown(tokens), ending, end_section=last)
    Console(width=170).print(table)


def _shown(tokens: Counted) -> Iterable[str]:
    return ("-" if count is None else str(count) for count in tokens)
