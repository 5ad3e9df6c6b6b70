"""What each surface of the scripted provider gives: asks out of bodies, documents and streams out of replies. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from agentdyno.core.errors import DynoError
from agentdyno.providers.reply import Ask, Reply, count_input_tokens
from agentdyno.providers.script import Failure
from agentdyno.providers.tool_choice import OfferedTool


class AskError(DynoError):
    """A request's body is not what its surface wants: answered with status 400."""


class Stamp(NamedTuple):
    """What makes one answer distinct from another with the same words."""

    serial: str
    """Unique among the answers of every run of the provider."""
    created_s: int
    """Unix time."""


class Frame(NamedTuple):
    """One event of a stream: its bytes, and what they bring."""

    data: bytes
    brings: Literal["piece", "frame", "trailer"] = "frame"
    """`piece`: a piece of the answer, a token. `trailer`: clients may hang up before it, the answer being whole."""


class Wire(Protocol):
    """One surface. A module that has these names is a wire."""

    @property
    def REQUEST_ID_HEADER(self) -> str:  # noqa: N802  a module's constant
        """The response header that carries the provider's request id."""
        ...

    def read_ask(self, body: dict[str, Any]) -> Ask:
        """What the body asks for. Raises AskError."""
        ...

    def document(self, reply: Reply, stamp: Stamp) -> dict[str, Any]:
        """The whole answer as one JSON document."""
        ...

    def frames(self, reply: Reply, stamp: Stamp, *, stream_usage: bool) -> Iterator[Frame]:
        """The answer as a stream."""
        ...

    def error_document(self, failure: Failure, request_id: str) -> dict[str, Any]:
        """The error as one JSON document."""
        ...


def server_sent(data: Any, event: str | None = None) -> bytes:
    """One server-sent event with a JSON payload, or with the text itself."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    named = "" if event is None else f"event: {event}\n"
    return f"{named}data: {text}\n\n".encode()


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises AskError."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AskError("the body is not JSON") from error
    if not isinstance(value, dict):
        raise AskError("the body is not a JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def ask_of(body: Mapping[str, Any], tools: tuple[OfferedTool, ...], *, stream_usage: bool = True) -> Ask:
    """The part of an ask that all surfaces write alike. Raises AskError."""
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str):
        raise AskError("model must be a string")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise AskError("messages must be a list of one or more objects")
    turn = sum(message.get("role") == "assistant" for message in messages)
    return Ask(model, body.get("stream") is True, turn, tools, count_input_tokens(body), stream_usage)


def offered_tool(value: Any, schema_name: str) -> OfferedTool | None:
    """A tool with a name and, under `schema_name`, the schema of its arguments; None for any other kind of tool."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    schema = value.get(schema_name)
    return OfferedTool(value["name"], schema) if isinstance(schema, dict) else None
