"""Replies to put on the wire, and what a stream of them says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentdyno.providers.reply import Ask, Reply, Usage, call_pieces, text_pieces
from agentdyno.providers.scripted_wire import Frame, Stamp
from agentdyno.providers.tool_choice import ToolCall

STAMP = Stamp("7", created_s=1_700_000_000)
USAGE = Usage(input=100, output=9, cache_read=60, cache_write=30, reasoning=4)
CALL = ToolCall("bash", {"command": "ls"})
ASK = Ask("m", streamed=True, turn=0, tools=(), input_tokens=100)


def make_reply(text: str | None = None, call: ToolCall | None = None, **asked: Any) -> Reply:
    """A reply with nine tokens of output; `asked` are fields of the ask."""
    return Reply(replace(ASK, **asked), text, call, (*text_pieces(text), *call_pieces(call)), USAGE)


def payloads(frames: Sequence[Frame]) -> list[Any]:
    """What a stream's data lines hold, the end mark left out."""
    lines = b"".join(frame.data for frame in frames).decode().splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(each) for each in data if each != "[DONE]"]
