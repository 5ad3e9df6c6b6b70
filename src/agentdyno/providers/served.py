"""The scripted provider's own count of what it served: a witness apart from the stand's metering, and content-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from agentdyno.core.records import Surface
from agentdyno.providers.reply import Usage

Operation = Literal["generate", "count_tokens"]


@dataclass
class ServedRequest:
    """One request, filled in while it is answered: what has not gone out yet is not counted yet.

    Tokens are as a whole answer reports them, input including cache reads and writes. Of an answer that was broken off,
    by the client or by the script, the input counts, the output tokens are the pieces that were made, and the reasoning
    is 0, for none was reported. Counting tokens uses none.
    """

    n: int
    """Place among all requests since the provider started, from 1."""
    surface: Surface
    request_id: str
    at_us: int
    authorization_digests: tuple[str, ...]
    """Hex SHA-256 of each key that came: in `authorization` (without its scheme), in the headers that vendors have for
    keys, or in the query."""
    operation: Operation = "generate"
    model: str | None = None
    script: str | None = None
    turn: int | None = None
    """Turns already taken, from 0; beyond the script's last turn it goes on."""
    streamed: bool = False
    status: int | None = None
    """HTTP status that was sent; none while the answer waits."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    broken_off: Literal["error", "cut"] | None = None
    """What ended the answer in its midst, by the script."""
    complete: bool = False
    """Whether the whole answer went out. A chat stream is whole before its end mark; some clients do not await it."""

    @property
    def failed(self) -> bool:
        """Whether the client was told of an error, before the answer or in its midst."""
        return self.broken_off == "error" or (self.status is not None and self.status >= 400)

    def count_input(self, usage: Usage) -> None:
        """The prompt was taken."""
        self.input_tokens = usage.input
        self.cache_read_tokens = usage.cache_read
        self.cache_write_tokens = usage.cache_write

    def count_output(self, usage: Usage) -> None:
        """All of the answer was generated."""
        self.output_tokens = usage.output
        self.reasoning_tokens = usage.reasoning


@dataclass
class Served:
    """Every request since the last reset."""

    requests: list[ServedRequest] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Totals and requests, as JSON values."""
        return {"totals": totals(self.requests), "requests": [asdict(request) for request in self.requests]}


def totals(requests: Sequence[ServedRequest]) -> dict[str, int]:
    """Sums over requests for answers: how many, how many whole answers and errors among them, and their tokens.

    Beside them, how many requests there were to count tokens.
    """
    generated = [request for request in requests if request.operation == "generate"]
    return {
        "requests": len(generated),
        "complete": sum(request.complete for request in generated),
        "errors": sum(request.failed for request in generated),
        "input_tokens": sum(request.input_tokens for request in generated),
        "output_tokens": sum(request.output_tokens for request in generated),
        "cache_read_tokens": sum(request.cache_read_tokens for request in generated),
        "cache_write_tokens": sum(request.cache_write_tokens for request in generated),
        "reasoning_tokens": sum(request.reasoning_tokens for request in generated),
        "count_tokens": len(requests) - len(generated),
    }
