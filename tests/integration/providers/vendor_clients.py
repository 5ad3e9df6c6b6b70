"""The vendors' own clients as one: each asks on its surface, and tells what came in its own types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anthropic
import httpx
import httpx2
import openai
from google import genai
from google.genai import errors as google_errors
from google.genai import types as gemini

from agentdyno.core.records import Surface

KEY = "sk-vendor-test-key"
TOOL = "run_shell"
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
TIMEOUT_S = 30


class ResponseFailed(Exception):
    """A stream ended with the event that says so."""


ERRORS = (openai.APIError, anthropic.APIError, google_errors.APIError, ResponseFailed)
"""What clients raise when they are told of an error."""
CUTS = (openai.APIConnectionError, anthropic.APIConnectionError, httpx.RemoteProtocolError, httpx2.RemoteProtocolError)
"""What clients raise when a connection ends too early."""


@dataclass
class Told:
    """What a client made of an answer."""

    text: str = ""
    arguments: dict[str, Any] | None = None
    """Of the tool call, where there is one."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    answered: list[Any] = field(default_factory=list)
    """The conversation's items to come after those that were asked with: the answer's, and the tool's result."""


class Vendor(Protocol):
    """A vendor's client on its surface."""

    surface: Surface
    start: list[Any]
    """A conversation with one message."""

    def ask(self, model: str, conversation: list[Any], *, streamed: bool) -> Told:
        """Ask with one tool to offer. Raises what the client raises."""
        ...

    def count(self, model: str) -> int | None:
        """The tokens of `start` by the vendor's counting call; None where it has none."""
        ...


@dataclass
class Chat:
    """OpenAI's client on chat completions."""

    client: openai.OpenAI
    surface: Surface = "openai_chat"
    start: list[Any] = field(default_factory=lambda: [{"role": "user", "content": "hi"}])

    def ask(self, model: str, conversation: list[Any], *, streamed: bool) -> Told:
        """The stream is put together by the client itself."""
        tools: Any = [{"type": "function", "function": {"name": TOOL, "parameters": SCHEMA}}]
        if streamed:
            options: Any = {"include_usage": True}
            with self.client.chat.completions.stream(
                model=model, messages=conversation, tools=tools, stream_options=options
            ) as stream:
                answer: Any = stream.get_final_completion()
        else:
            answer = self.client.chat.completions.create(model=model, messages=conversation, tools=tools)
        message, usage = answer.choices[0].message, answer.usage
        calls = message.tool_calls or []
        results = [{"role": "tool", "tool_call_id": call.id, "content": "done"} for call in calls]
        return Told(
            text=message.content or "",
            arguments=json.loads(calls[0].function.arguments) if calls else None,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cache_read_tokens=usage.prompt_tokens_details.cached_tokens,
            cache_write_tokens=usage.prompt_tokens_details.cache_write_tokens,
            reasoning_tokens=usage.completion_tokens_details.reasoning_tokens,
            answered=[message.to_dict(), *results],
        )

    def count(self, model: str) -> int | None:
        """The surface has no such call."""
        return None


@dataclass
class Responses:
    """OpenAI's client on responses."""

    client: openai.OpenAI
    surface: Surface = "openai_responses"
    start: list[Any] = field(default_factory=lambda: [{"role": "user", "content": "hi"}])

    def ask(self, model: str, conversation: list[Any], *, streamed: bool) -> Told:
        """The stream is put together by the client itself, which takes a failed one for an event like others."""
        tools: Any = [{"type": "function", "name": TOOL, "parameters": SCHEMA, "strict": False}]
        if streamed:
            with self.client.responses.stream(model=model, input=conversation, tools=tools) as stream:
                for event in stream:
                    if event.type == "response.failed" and event.response.error is not None:
                        raise ResponseFailed(event.response.error.message)
                answer: Any = stream.get_final_response()
        else:
            answer = self.client.responses.create(model=model, input=conversation, tools=tools)
        calls = [item for item in answer.output if item.type == "function_call"]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": "done"} for call in calls]
        return Told(
            text=answer.output_text,
            arguments=json.loads(calls[0].arguments) if calls else None,
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
            cache_read_tokens=answer.usage.input_tokens_details.cached_tokens,
            cache_write_tokens=answer.usage.input_tokens_details.cache_write_tokens,
            reasoning_tokens=answer.usage.output_tokens_details.reasoning_tokens,
            answered=[*(item.to_dict() for item in answer.output), *results],
        )

    def count(self, model: str) -> int | None:
        """By the call beside that for responses."""
        return self.client.responses.input_tokens.count(model=model, input=self.start).input_tokens


@dataclass
class Messages:
    """Anthropic's client."""

    client: anthropic.Anthropic
    surface: Surface = "anthropic_messages"
    start: list[Any] = field(default_factory=lambda: [{"role": "user", "content": "hi"}])

    def ask(self, model: str, conversation: list[Any], *, streamed: bool) -> Told:
        """The stream is put together by the client itself."""
        tools: Any = [{"name": TOOL, "input_schema": SCHEMA}]
        asked: Any = {"model": model, "messages": conversation, "max_tokens": 100, "tools": tools}
        if streamed:
            with self.client.messages.stream(**asked) as stream:
                answer: Any = stream.get_final_message()
        else:
            answer = self.client.messages.create(**asked)
        usage = answer.usage
        calls = [block for block in answer.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "done"} for call in calls]
        return Told(
            text="".join(block.text for block in answer.content if block.type == "text"),
            arguments=calls[0].input if calls else None,
            input_tokens=usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_input_tokens,
            cache_write_tokens=usage.cache_creation_input_tokens,
            reasoning_tokens=usage.output_tokens_details.thinking_tokens,
            answered=[{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}],
        )

    def count(self, model: str) -> int | None:
        """By the call beside that for messages."""
        return self.client.messages.count_tokens(model=model, messages=self.start).input_tokens


@dataclass
class Gemini:
    """Google's client."""

    client: genai.Client
    surface: Surface = "gemini"
    start: list[Any] = field(default_factory=lambda: [{"role": "user", "parts": [{"text": "hi"}]}])

    def ask(self, model: str, conversation: list[Any], *, streamed: bool) -> Told:
        """The client hands on the chunks of a stream; each tells the usage so far."""
        tool = gemini.Tool(function_declarations=[gemini.FunctionDeclaration(name=TOOL, parameters_json_schema=SCHEMA)])
        config = gemini.GenerateContentConfig(tools=[tool])
        asked: Any = {"model": model, "contents": conversation, "config": config}
        if streamed:
            chunks = list(self.client.models.generate_content_stream(**asked))
        else:
            chunks = [self.client.models.generate_content(**asked)]
        usage: Any = chunks[-1].usage_metadata
        parts: list[Any] = [part for chunk in chunks for part in (chunk.parts or [])]
        calls = [part.function_call for part in parts if part.function_call is not None]
        results = [gemini.Part.from_function_response(name=call.name, response={"output": "done"}) for call in calls]
        return Told(
            text="".join(part.text or "" for part in parts),
            arguments=calls[0].args if calls else None,
            input_tokens=usage.prompt_token_count,
            output_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
            cache_read_tokens=usage.cached_content_token_count or 0,
            cache_write_tokens=0,  # the surface does not say
            reasoning_tokens=usage.thoughts_token_count or 0,
            answered=[
                gemini.Content(role="model", parts=parts),
                gemini.Content(role="user", parts=results),
            ],
        )

    def count(self, model: str) -> int | None:
        """By the counting operation."""
        return self.client.models.count_tokens(model=model, contents=self.start).total_tokens


@contextmanager
def vendors(url: str) -> Iterator[dict[Surface, Vendor]]:
    """A client for each surface of the provider at this address; none tries again by itself."""
    with ExitStack() as stack:
        of_openai = stack.enter_context(
            openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=TIMEOUT_S)
        )
        of_anthropic = stack.enter_context(
            anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0, timeout=TIMEOUT_S)
        )
        options = gemini.HttpOptions(
            base_url=url, timeout=TIMEOUT_S * 1000, retry_options=gemini.HttpRetryOptions(attempts=1)
        )
        of_google = stack.enter_context(genai.Client(api_key=KEY, http_options=options))
        clients: list[Vendor] = [Chat(of_openai), Responses(of_openai), Messages(of_anthropic), Gemini(of_google)]
        yield {client.surface: client for client in clients}
