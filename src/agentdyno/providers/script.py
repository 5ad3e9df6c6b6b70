"""Scripts: what the scripted provider answers, as data.

A script has a name, by which a client asks for it as a model, and turns. A turn says `text`, calls a `tool`, does both
in this order, or is an `error`. Conversations longer than the script repeat its last turn.

One script may know several tasks: a case has turns of its own, for conversations in which certain words stand.

An answer may come to grief: a turn with an answer may also have an `error`, met `times` times before the answer comes,
or in the midst of it (`after_pieces`), or a `cut`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from agentdyno.core.fields import Field


@dataclass(frozen=True)
class WriteFile:
    """A file that the harness is to write."""

    path: Annotated[str, Field("where, relative to the harness's working folder")]
    text: Annotated[str, Field("what it is to hold, to the byte")]


@dataclass(frozen=True)
class ToolUse:
    """What a tool is to do, whatever tools a harness offers. One of the fields is given."""

    write_file: Annotated[WriteFile | None, Field("write a file")] = None
    shell: Annotated[str | None, Field("run a shell command")] = None


@dataclass(frozen=True)
class Failure:
    """An HTTP error in place of an answer or, of a stream, in its midst."""

    status: Annotated[int, Field("HTTP status, 400 to 599")]
    message: Annotated[str, Field("the sentence that the client gets")]
    code: Annotated[str | None, Field("error's own code, on surfaces that have one")] = None
    retry_after_s: Annotated[float | None, Field("when to try again, sent as retry-after", unit="s")] = None
    after_pieces: Annotated[
        int | None, Field("a stream brings so many pieces of the answer, and then the error as an event")
    ] = None
    times: Annotated[int | None, Field("a conversation meets it so often, and then the answer; else always")] = None


@dataclass(frozen=True)
class Cut:
    """A connection that is closed in the midst of an answer."""

    after_pieces: Annotated[int, Field("a stream brings so many pieces; one document, half of its bytes")]
    times: Annotated[int | None, Field("a conversation meets it so often, and then the answer; else always")] = None


@dataclass(frozen=True)
class Latency:
    """How long the pieces of an answer take."""

    first_token_ms: Annotated[float, Field("before the first piece, or before an error", unit="ms")] = 0.0
    per_token_ms: Annotated[float, Field("before each further piece", unit="ms")] = 0.0
    jitter: Annotated[float, Field("each delay is multiplied by a draw from [1 - jitter, 1 + jitter]")] = 0.0


@dataclass(frozen=True)
class ScriptedUsage:
    """Tokens to report in place of the counted ones."""

    input: Annotated[int | None, Field("input, cache reads and writes included", unit="tokens")] = None
    output: Annotated[int | None, Field("output, reasoning included", unit="tokens")] = None
    cache_read: Annotated[int, Field("part of the input", unit="tokens")] = 0
    cache_write: Annotated[int, Field("part of the input", unit="tokens")] = 0
    reasoning: Annotated[int, Field("part of the output", unit="tokens")] = 0


@dataclass(frozen=True)
class Turn:
    """One answer: text, a tool call, text and then a tool call, or an error; and what it comes to grief by."""

    text: Annotated[str | None, Field("what is said")] = None
    tool: Annotated[ToolUse | None, Field("what a tool is then to do")] = None
    error: Annotated[Failure | None, Field("an HTTP error instead, or first, or in the midst")] = None
    cut: Annotated[Cut | None, Field("the connection is closed in the midst")] = None
    latency: Annotated[Latency | None, Field("in place of the script's")] = None
    usage: Annotated[ScriptedUsage, Field("tokens in place of the counted ones")] = ScriptedUsage()

    @property
    def fault(self) -> Failure | Cut | None:
        """What the answer comes to grief by."""
        return self.cut if self.error is None else self.error


@dataclass(frozen=True)
class Case:
    """What a script answers to one of the tasks that it knows."""

    asked: Annotated[str, Field("words that stand in the conversations that it is for")]
    turns: Annotated[tuple[Turn, ...], Field("its answers to them, in order")]


@dataclass(frozen=True)
class Script:
    """A model's whole behaviour."""

    name: Annotated[str, Field("the model that a client asks for")]
    turns: Annotated[tuple[Turn, ...], Field("its answers, in order, where no case fits")]
    description: Annotated[str, Field("one line for people")] = ""
    latency: Annotated[Latency, Field("of turns that name none")] = Latency()
    cases: Annotated[tuple[Case, ...], Field("tasks with answers of their own; the first that fits counts")] = ()

    def for_words(self, words: str) -> Script:
        """The script as it is for a conversation with these words: its turns are those of the case that fits."""
        fitting = next((case.turns for case in self.cases if case.asked in words), self.turns)
        return replace(self, turns=fitting, cases=())

    def turn(self, index: int) -> Turn:
        """The turn after `index` earlier answers; past the end, the last one."""
        return self.turns[min(index, len(self.turns) - 1)]

    def latency_of(self, index: int) -> Latency:
        """The latency of that turn: its own, or else the script's."""
        own = self.turn(index).latency
        return self.latency if own is None else own
