"""What each surface's requests are made of: kinds, and what in them is a tool's result or a file."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from agentdyno.core.anatomy import anatomy_of
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Part
from agentdyno.core.records import Surface

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
URL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
INLINE = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "marmalade"}
PICTURED = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "see"}, IMAGE]}


class Told(NamedTuple):
    """A part, in what is told of it."""

    kind: str
    tool_results_bytes: int = 0
    media_bytes: int = 0
    tools: int = 0


def size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def parts(surface: Surface, **body: Any) -> list[Part]:
    found = DIALECTS[surface].request_parts(json.dumps(body, separators=(",", ":")).encode())
    assert found is not None
    return list(found)


def told(surface: Surface, **body: Any) -> list[Told]:
    return [Told(part.kind, part.tool_results_bytes, part.media_bytes, part.tools) for part in parts(surface, **body)]


def message_of(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": content}]}


def message(role: str, *content: Any) -> dict[str, Any]:
    return {"role": role, "content": list(content)}


class TestMessages:
    def test_tools_come_first_then_the_system_then_messages(self) -> None:
        found = told(
            "anthropic_messages",
            messages=[message("user", {"type": "text", "text": "hi"}), {"role": "assistant", "content": "ho"}],
            system=[{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
            tools=[{"name": "spread"}, {"name": "eat"}],
        )
        assert found == [Told("tools", tools=2), Told("system"), Told("system"), Told("user"), Told("assistant")]

    def test_a_system_prompt_may_be_a_text(self) -> None:
        assert [(part.kind, part.encoded) for part in parts("anthropic_messages", system="be brief")] == [
            ("system", b'"be brief"')
        ]

    def test_tool_results_alone_make_the_message_one(self) -> None:
        sent = message("user", RESULT, RESULT)
        assert told("anthropic_messages", messages=[sent]) == [Told("tool_result", size(sent))]

    def test_results_beside_words_are_told_apart(self) -> None:
        sent = message("user", RESULT, {"type": "text", "text": "go on"})
        assert told("anthropic_messages", messages=[sent]) == [Told("user", size(RESULT))]

    def test_a_picture_in_a_result_counts_as_a_file(self) -> None:
        sent = message("user", PICTURED)
        assert told("anthropic_messages", messages=[sent]) == [
            Told("tool_result", size(sent) - size(IMAGE), size(IMAGE))
        ]

    @pytest.mark.parametrize(
        "kind", ["web_search_tool_result", "mcp_tool_result", "bash_code_execution_tool_result", "tool_result"]
    )
    def test_results_of_the_servers_tools(self, kind: str) -> None:
        block = {"type": kind, "tool_use_id": "t", "content": []}
        sent = message("assistant", {"type": "text", "text": "I looked."}, block)
        assert told("anthropic_messages", messages=[sent]) == [Told("assistant", size(block))]

    def test_marks_are_dropped_however_deep_they_stand_and_nothing_else_of_that_name(self) -> None:
        mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
        text = {"type": "text", "text": "marmalade"}
        document = {"type": "document", "source": {"type": "content", "content": [text | mark]}} | mark
        sent = message("user", {"type": "tool_result", "tool_use_id": "t", "content": [document]} | mark)
        call = message("assistant", {"type": "tool_use", "id": "t", "name": "set", "input": mark} | mark)
        tool = {"name": "set", "input_schema": {"properties": mark}}
        found = parts("anthropic_messages", tools=[tool | mark], messages=[call, sent])
        assert [part.encoded.count(b"cache_control") for part in found] == [1, 1, 0]
        assert json.loads(found[0].encoded) == [tool]

    def test_a_text_that_is_a_list_only_to_bear_a_mark_is_the_same(self) -> None:
        marked = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
        cited = [{"type": "text", "text": "hi", "citations": []}]
        for place in (lambda content: {"system": content}, lambda content: {"messages": [message_of(content)]}):
            one, other, another = (parts("anthropic_messages", **place(each)) for each in ("hi", marked, cited))
            assert one == other
            assert one != another


class TestChats:
    def test_the_systems_messages_stand_where_they_are(self) -> None:
        roles = ("system", "user", "assistant", "tool", "developer", "function", "narrator")
        sent = [{"role": role, "content": "marmalade"} for role in roles]
        assert told("openai_chat", messages=sent, tools=[{"type": "function", "function": {"name": "spread"}}]) == [
            Told("tools", tools=1),
            *(Told(kind) for kind in ("system", "user", "assistant")),
            Told("tool_result", size(sent[3])),
            Told("system"),
            Told("tool_result", size(sent[5])),
            Told("other"),
        ]

    def test_tools_under_their_former_name(self) -> None:
        assert told("openai_chat", functions=[{"name": "spread"}], messages=[]) == [Told("tools", tools=1)]

    @pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
    def test_files(self, kind: str) -> None:
        block = {"type": kind, kind: {"data": "aGk="}}
        sent = message("user", {"type": "text", "text": "see"}, block)
        assert told("openai_chat", messages=[sent]) == [Told("user", media_bytes=size(block))]

    def test_marks_of_the_vendor_and_of_those_that_copy_it(self) -> None:
        marks = {"cache_control": {"type": "ephemeral"}, "prompt_cache_breakpoint": {"mode": "explicit"}}
        plain = {"role": "user", "content": "marmalade"}
        tool = {"type": "function", "function": {"name": "spread"}}
        sent = message("user", {"type": "text", "text": "marmalade"} | marks) | marks
        offered = {"type": "function", "function": {"name": "spread"} | marks} | marks
        assert parts("openai_chat", tools=[offered], messages=[sent]) == parts(
            "openai_chat", tools=[tool], messages=[plain]
        )


class TestResponses:
    def test_items_are_parts(self) -> None:
        output = {"type": "function_call_output", "call_id": "c", "output": "marmalade"}
        found = told(
            "openai_responses",
            instructions="be brief",
            tools=[{"type": "function", "name": "spread"}],
            input=[
                {"type": "message", "role": "developer", "content": "rules"},
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "reasoning", "encrypted_content": "x"},
                {"type": "function_call", "call_id": "c", "name": "spread", "arguments": "{}"},
                output,
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ho"}]},
                {"type": "item_reference", "id": "i"},
            ],
        )
        assert found == [
            Told("tools", tools=1),
            *map(Told, ("system", "system", "user", "reasoning", "tool_call")),
            Told("tool_result", size(output)),
            *map(Told, ("assistant", "other")),
        ]

    def test_an_input_may_be_a_text(self) -> None:
        assert [(part.kind, part.encoded) for part in parts("openai_responses", input="hi")] == [("user", b'"hi"')]

    def test_a_screenshot_is_a_file_in_a_result(self) -> None:
        shot = {"type": "computer_screenshot", "image_url": "data:image/png;base64,aGk="}
        item = {"type": "computer_call_output", "call_id": "c", "output": shot}
        assert told("openai_responses", input=[item]) == [Told("tool_result", size(item) - size(shot), size(shot))]

    def test_tools_that_come_later_are_tools(self) -> None:
        item = {"type": "additional_tools", "role": "developer", "tools": [{"name": "spread"}, {"name": "eat"}]}
        assert told("openai_responses", input=[item]) == [Told("tools", tools=2)]


class TestGemini:
    @pytest.mark.parametrize(
        ("system", "functions", "answer"),
        [
            ("systemInstruction", "functionDeclarations", "functionResponse"),
            ("system_instruction", "function_declarations", "function_response"),
        ],
    )
    def test_contents_are_messages(self, system: str, functions: str, answer: str) -> None:
        result = {"role": "user", "parts": [{answer: {"name": "spread", "response": {"output": "done"}}}]}
        found = told(
            "gemini",
            contents=[
                {"parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "spread"}}]},
                result,
                {"role": "user", "parts": [{"text": "see"}, INLINE]},
            ],
            tools=[{functions: [{"name": "spread"}, {"name": "eat"}]}, {"googleSearch": {}}],
            **{system: {"parts": [{"text": "one"}, {"text": "two"}]}},
        )
        assert found == [
            Told("tools", tools=3),
            *map(Told, ("system", "system", "user", "assistant")),
            Told("tool_result", size(result)),
            Told("user", media_bytes=size(INLINE)),
        ]

    def test_a_picture_in_a_functions_answer_is_a_file(self) -> None:
        sent = {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {}, "parts": [INLINE]}}]}
        assert told("gemini", contents=[sent]) == [Told("tool_result", size(sent) - size(INLINE), size(INLINE))]

    def test_a_list_without_functions_offers_nothing(self) -> None:
        assert told("gemini", tools=[{"functionDeclarations": []}], contents=[]) == []


@pytest.mark.parametrize("surface", DIALECTS)
@pytest.mark.parametrize("wrong", [None, 7, "x", {}, {"role": "user"}, [], [7, None, []]])
def test_what_is_of_another_type_is_no_part(surface: Surface, wrong: Any) -> None:
    names = ("tools", "functions", "system", "systemInstruction", "messages", "contents")
    found = parts(surface, model="m", **dict.fromkeys(names, wrong))
    assert [part for part in found if (part.kind, part.encoded) != ("system", b'"x"')] == []


def test_half_an_emoji_hides_nothing() -> None:
    body = b'{"messages":[{"role":"user","content":"\\ud83d"},{"role":"assistant","content":"ho"}]}'
    found = DIALECTS["openai_chat"].request_parts(body)
    assert [part.kind for part in found or ()] == ["user", "assistant"]


def test_every_byte_is_in_one_size() -> None:
    tool, sent, image = {"name": "spread"}, message("user", RESULT, IMAGE, {"type": "text", "text": "go on"}), IMAGE
    found = anatomy_of(parts("anthropic_messages", tools=[tool], system="be brief", messages=[sent]), b"key")
    assert (found.tools, found.messages) == (1, 1)
    assert (found.tools_bytes, found.system_bytes) == (size([tool]), size("be brief"))
    assert (found.tool_results_bytes, found.media_bytes) == (size(RESULT), size(image))
    assert found.history_bytes == size(sent) - size(RESULT) - size(image)
