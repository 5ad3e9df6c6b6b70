"""What each of the three witnesses says of a request's tokens. Pure.

The provider's own wire is read at the egress, LiteLLM reports what it makes of it, and the harness is told what stands
on its wire. They are kept apart here; docs/accounting.md says which of them a row believes.

- A stream that was cut has perhaps told its input, but not its output: what came before its finish reason is a running
  total. Its output and reasoning are unknown.
- No prompt has 0 tokens: a usage object of an input of 0, and an output of 0 or none that can be known, is LiteLLM's
  filling of what nobody said.
- Attempts are summed. What one of them that was answered did not tell, the sum does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from agentdyno.core.dialects.openai_chat import LitellmUsage, litellm_tokens, read_litellm_usages
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.evidence import Attempt, Came, Heard, Reported
from agentdyno.core.records import Surface

UNKNOWN = Tokens()


def attempt_tokens(attempt: Attempt) -> Tokens:
    """What the provider told on one attempt; all unknown where it told nothing, or no dialect reads it."""
    return _wire_tokens(attempt, attempt.surface, streamed=attempt.streamed)


def answered_attempts(tried: Iterable[Attempt]) -> list[Attempt]:
    """The attempts on which the provider answered, in a protocol that a dialect reads."""
    return [attempt for attempt in tried if attempt.succeeded and attempt.surface in DIALECTS]


def harness_tokens(entered: Came, answered: Heard) -> Tokens:
    """What the harness was told, or would have been had it asked."""
    return _wire_tokens(answered, entered.surface, streamed=answered.in_events)


def proxy_usage(routed: Reported) -> LitellmUsage | None:
    """LiteLLM's own usage object; None where it reported none."""
    return next(iter(read_litellm_usages(routed.usages)), None)


def proxy_tokens(entered: Came, routed: Reported) -> Tokens:
    """What LiteLLM reported. Where it gives no details it cannot know the reasoning, and says 0."""
    usage = None if routed.status == "failure" else proxy_usage(routed)
    if usage is None:
        return UNKNOWN
    tokens = litellm_tokens(usage)
    if entered.surface == "anthropic_messages":
        # LiteLLM's report has 0 where a message names none.
        tokens = tokens._replace(cache_read=tokens.cache_read or None, cache_write=tokens.cache_write or None)
    if usage.prompt_tokens_details is None:
        tokens = tokens._replace(reasoning=None)
    return UNKNOWN if tokens.input == 0 else _counted(tokens)


def summed(told: Sequence[Tokens]) -> Tokens:
    """Tokens field by field; None where one of them does not know. All unknown of none."""
    if len(told) < 2:
        return told[0] if told else UNKNOWN
    return Tokens(*(None if None in column else sum(column) for column in zip(*told, strict=True)))


def _wire_tokens(read: Attempt | Heard, surface: str | None, *, streamed: bool) -> Tokens:
    """What stands on a wire of a surface; all unknown where no dialect reads it."""
    dialect = DIALECTS.get(cast(Surface, surface))
    if dialect is None:
        return UNKNOWN
    tokens = dialect.tokens(dialect.read_usages(read.usages), streamed=streamed)
    if streamed and not read.complete and read.finish_reason is None:
        tokens = tokens._replace(output=None, reasoning=None)
    return _counted(tokens)


def _counted(tokens: Tokens) -> Tokens:
    return UNKNOWN if tokens.input == 0 and tokens.output in (0, None) else tokens
