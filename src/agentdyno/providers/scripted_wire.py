"""What each surface of the scripted provider gives: documents and streams out of replies, errors. Pure.

With it, what their ways of reading asks out of bodies share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from agentdyno.core.errors import DynoError
from agentdyno.providers.reply import Ask, Reply, count_input_tokens, prompt_of
from agentdyno.providers.script import Failure
from agentdyno.providers.tool_choice import OfferedTool


class AskError(DynoError):
    """A request is not what its surface wants, or wants what is not there: answered with this status."""

    def __init__(self, message: str, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(status, message, code)


ReadAsk = Callable[[dict[str, Any]], Ask]
"""From a request's body to what it asks for. Raises AskError."""


class Stamp(NamedTuple):
    """What makes one answer distinct from another with the same words."""

    serial: str
    """Unique among the answers of every run of the provider."""
    created_s: int
    """Unix time."""

    @property
    def request_id(self) -> str:
        """The provider's id of the request that is answered."""
        return f"req_{self.serial}"


class Frame(NamedTuple):
    """One event of a stream: its bytes, and what they bring."""

    data: bytes
    pieces: int = 0
    """How many pieces of the answer, which is how many tokens."""
    trailer: bool = False
    """Clients may hang up before it, the answer being whole."""


class Wire(Protocol):
    """One surface. A module that has these names is a wire."""

    @property
    def REQUEST_ID_HEADER(self) -> str:  # noqa: N802  a module's constant
        """The response header that carries the provider's request id."""
        ...

    def document(self, reply: Reply, stamp: Stamp) -> dict[str, Any]:
        """The whole answer as one JSON document."""
        ...

    def frames(self, reply: Reply, stamp: Stamp) -> Iterator[Frame]:
        """The answer as a stream."""
        ...

    def error_event(self, failure: Failure, reply: Reply, stamp: Stamp, sent: int) -> bytes:
        """The event by which a stream fails after `sent` frames of it."""
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


def ask_of(body: Mapping[str, Any], tools: Iterable[OfferedTool | None] = (), *, stream_usage: bool = True) -> Ask:
    """What the two surfaces with `messages` write alike. Raises AskError."""
    messages = objects_of(body, "messages")
    return Ask(
        model=model_of(body),
        streamed=body.get("stream") is True,
        turn=sum(message.get("role") == "assistant" for message in messages),
        tools=tuple(tool for tool in tools if tool is not None),
        input_tokens=count_input_tokens(body),
        prompt=prompt_of(body),
        stream_usage=stream_usage,
    )


def model_of(body: Mapping[str, Any]) -> str:
    """The model that a body names. Raises AskError."""
    model = body.get("model")
    if not isinstance(model, str):
        raise AskError("model must be a string")
    return model


def objects_of(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects, one or more, that a field of a body lists. Raises AskError."""
    value = body.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise AskError(f"{name} must be a list of one or more objects")
    return value


def count_answers(items: Iterable[bool]) -> int:
    """How many answers there are among items that are (True) or are not the model's: neighbours are one answer."""
    answers, before = 0, False
    for is_models in items:
        answers += is_models and not before
        before = is_models
    return answers


def offered_tool(value: Any, *schema_names: str) -> OfferedTool | None:
    """A tool with a name and, under one of `schema_names`, its arguments' schema; None for other kinds of tool."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    schema = next((value[name] for name in schema_names if name in value), None)
    return OfferedTool(value["name"], schema) if isinstance(schema, dict) else None
