"""The vendors' own clients over the corpus: what they make of an answer, as far as it came."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import anthropic
import httpx
import httpx2
import openai
from anthropic.types import Message
from google import genai
from google.genai import errors as google_errors
from google.genai import types as google
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from tests.corpus.case import MODEL, Case
from tests.corpus.counting import Counted

from agentdyno.core.records import Surface

KEY = "sk-vendor-test-key"
TIMEOUTS = (openai.APITimeoutError, anthropic.APITimeoutError, httpx.TimeoutException, httpx2.TimeoutException)
CUTS = (openai.APIConnectionError, anthropic.APIConnectionError, httpx.RemoteProtocolError, httpx2.RemoteProtocolError)
STATUS_ERRORS = (openai.APIStatusError, anthropic.APIStatusError, google_errors.APIError)


class ResponseFailed(Exception):
    """A stream of responses told of an error: the client takes it for an event like others."""


@dataclass
class Told:
    """What a client told so far."""

    tokens: Counted = field(default_factory=Counted)
    response_id: str | None = None
    finish_reason: str | None = None
    tool_calls: int = 0
    pieces: int = 0
    """Pieces of content."""


Reader = Generator[Told]
"""Tells after each event, or once, what was told by then. Raises what the client raises. To close it is to leave."""
Ask = Callable[[Case], Reader]


def ask_chat(client: openai.OpenAI, case: Case) -> Reader:
    """OpenAI's client on chat completions."""
    told, begun = Told(), set()
    answer = client.chat.completions.create(**case.request)
    if isinstance(answer, ChatCompletion):
        [choice] = answer.choices
        calls = choice.message.tool_calls or []
        yield Told(_chat_tokens(answer), answer.id, choice.finish_reason, len(calls))
        return
    with answer as stream:
        for chunk in stream:
            told.response_id = chunk.id
            told.tokens = told.tokens if chunk.usage is None else _chat_tokens(chunk)
            for choice in chunk.choices:
                told.finish_reason = choice.finish_reason or told.finish_reason
                begun |= {call.index for call in choice.delta.tool_calls or []}
                told.pieces += bool(choice.delta.content or choice.delta.tool_calls)
            told.tool_calls = len(begun)
            yield told


def _chat_tokens(answer: ChatCompletion | ChatCompletionChunk) -> Counted:
    usage: Any = answer.usage
    if usage is None:
        return Counted()
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Counted(
        usage.prompt_tokens,
        usage.completion_tokens,
        prompt.cached_tokens,
        prompt.cache_write_tokens,
        completion.reasoning_tokens,
    )


def ask_responses(client: openai.OpenAI, case: Case) -> Reader:
    """OpenAI's client on responses."""
    told = Told()
    answer = client.responses.create(**case.request)
    if isinstance(answer, Response):
        yield _of_response(answer)
        return
    with answer as stream:
        for event in stream:
            match event.type:
                case "response.completed" | "response.incomplete":
                    told = _of_response(event.response)
                case "response.failed":
                    told = Told(response_id=event.response.id, finish_reason=event.response.status)
                    yield told
                    raise ResponseFailed(event.response.error)
                case "error":
                    raise ResponseFailed(event.message)
                case "response.created":
                    told.response_id = event.response.id
                case "response.output_text.delta":
                    told.pieces += 1
                case _:
                    pass
            yield told


def _of_response(response: Response) -> Told:
    usage: Any = response.usage
    read, written = usage.input_tokens_details, usage.output_tokens_details
    tokens = Counted(
        usage.input_tokens,
        usage.output_tokens,
        read.cached_tokens,
        read.cache_write_tokens,
        written.reasoning_tokens,
    )
    reason = response.incomplete_details.reason if response.incomplete_details is not None else response.status
    return Told(tokens, response.id, reason, sum(item.type == "function_call" for item in response.output))


def ask_messages(client: anthropic.Anthropic, case: Case) -> Reader:
    """Anthropic's client, which puts a stream together by itself."""
    asked = {name: value for name, value in case.request.items() if name != "stream"}
    if not case.streamed:
        yield _of_message(client.messages.create(**asked), whole=True)
        return
    pieces = 0
    with client.messages.stream(**asked) as stream:
        for event in stream:
            pieces += event.type == "content_block_delta"
            told = _of_message(stream.current_message_snapshot, whole=event.type == "message_stop")
            told.pieces = pieces
            yield told


def _of_message(message: Message, *, whole: bool) -> Told:
    usage: Any = message.usage
    cached = usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    details = usage.output_tokens_details
    tokens = Counted(
        usage.input_tokens + cached,
        usage.output_tokens if whole else None,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
        details.thinking_tokens if whole and details is not None else None,
    )
    calls = sum(block.type == "tool_use" for block in message.content)
    return Told(tokens, message.id, message.stop_reason, calls)


def ask_gemini(client: genai.Client, case: Case) -> Reader:
    """Google's client, which hands on the chunks of a stream; each tells the usage so far."""
    config: Any = {"max_output_tokens": case.request["generationConfig"]["maxOutputTokens"]}
    config |= {"tools": case.request["tools"]} if "tools" in case.request else {}
    asked: Any = {"model": MODEL, "contents": case.request["contents"], "config": config}
    told = Told()
    if not case.streamed:
        yield _with_chunk(told, client.models.generate_content(**asked))
        return
    for chunk in client.models.generate_content_stream(**asked):
        yield _with_chunk(told, chunk)


def _with_chunk(told: Told, chunk: google.GenerateContentResponse) -> Told:
    told.response_id = chunk.response_id
    for candidate in chunk.candidates or []:
        parts = (candidate.content.parts if candidate.content is not None else None) or []
        told.tool_calls += sum(part.function_call is not None for part in parts)
        told.pieces += sum(bool(part.text) for part in parts)
        told.finish_reason = candidate.finish_reason.value if candidate.finish_reason is not None else None
    usage = chunk.usage_metadata
    if usage is not None:
        whole, thoughts = told.finish_reason is not None, usage.thoughts_token_count
        told.tokens = Counted(
            (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
            (usage.candidates_token_count or 0) + (thoughts or 0) if whole else None,
            usage.cached_content_token_count,
            None,
            thoughts if whole else None,
        )
    return told


@contextmanager
def vendors(url: str, *, attempts: int = 1, patience_s: float = 30.0) -> Iterator[Mapping[Surface, Ask]]:
    """A client for each surface of a server, that tries so often and waits so long for the next bytes."""
    retries = attempts - 1
    with ExitStack() as stack:
        of_openai = stack.enter_context(
            openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=retries, timeout=patience_s)
        )
        of_anthropic = stack.enter_context(
            anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=retries, timeout=patience_s)
        )
        trying = google.HttpRetryOptions(attempts=attempts, initial_delay=0.02, max_delay=0.05)
        options = google.HttpOptions(base_url=url, timeout=int(patience_s * 1000), retry_options=trying)
        of_google = stack.enter_context(genai.Client(api_key=KEY, http_options=options))
        yield MappingProxyType(
            {
                "openai_chat": lambda case: ask_chat(of_openai, case),
                "openai_responses": lambda case: ask_responses(of_openai, case),
                "anthropic_messages": lambda case: ask_messages(of_anthropic, case),
                "gemini": lambda case: ask_gemini(of_google, case),
            }
        )
