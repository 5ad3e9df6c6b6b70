"""What each request of a soak asks for, and what its provider does with it: drawn from a seed and the request's number.

The client and the provider each draw it for themselves, since all that goes between them is the number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Literal, NamedTuple, TypeVar

from agentdyno.core.records import Surface

SURFACES: tuple[Surface, ...] = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
MODELS = ("steady-small", "steady-large")
NUMBER_HEADER = "x-soak-request"
"""In which the client sends a request's number, as a harness would an id of its own."""

Fate = Literal["plain", "slow", "refused", "breaks_off"]
Cut = Literal["before_the_head", "after_the_first_chunk", "mid_stream"]

_T = TypeVar("_T")
_FATES: tuple[Fate, ...] = ("plain", "slow", "refused", "breaks_off")
_FATES_PER_CENT = (86, 5, 6, 3)
_CUTS_PER_CENT = 7
_REFUSALS = {"anthropic_messages": (429, 500, 529)}
_OTHER_REFUSALS = (429, 500, 503)


class Usage(NamedTuple):
    """Tokens by the definitions of docs/accounting.md; None where the surface has no word for it."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int | None
    reasoning_tokens: int | None


class Errand(NamedTuple):
    """One request."""

    number: int
    surface: Surface
    streamed: bool
    model: str
    session: int
    """Which of the model's sessions asks: this number, divided by how many they are, leaves the session's."""
    cut: Cut | None
    """When the client hangs up, if the answer is not there by then."""
    cut_after_s: float
    fate: Fate
    refusal: int
    """The HTTP status, where it is refused."""
    first_byte_s: float
    """How long the provider thinks."""
    gap_s: float
    """Between two pieces of a stream."""
    usage: Usage
    words: int
    """Pieces of a stream that have text: a token each."""


def errand(seed: int, number: int) -> Errand:
    """The request of that number."""
    chance = Random(f"{seed}:{number}")
    surface = chance.choice(SURFACES)
    streamed = chance.random() < 0.5
    [fate] = chance.choices(_FATES, _FATES_PER_CENT)
    cut = _cut(chance, streamed=streamed)
    waits = fate == "slow" or (cut == "before_the_head" and chance.random() < 0.7)
    paced = cut is not None or (fate == "breaks_off" and chance.random() < 0.5)
    words = chance.randint(4, 8) if paced else chance.randint(2, 6)
    return Errand(
        number=number,
        surface=surface,
        streamed=streamed,
        model=chance.choice(MODELS),
        session=chance.randrange(60),
        cut=cut,
        cut_after_s=chance.uniform(0, 1.0) if cut == "before_the_head" else chance.uniform(0, 0.4),
        fate=fate,
        refusal=chance.choice(_REFUSALS.get(surface, _OTHER_REFUSALS)),
        first_byte_s=chance.uniform(0.2, 1.2) if waits else 0.0,
        gap_s=0.1 if paced else 0.001,
        usage=_usage(chance, surface, words),
        words=words,
    )


def own_of(sessions: Mapping[str, Sequence[_T]], asked: Errand) -> _T:
    """What belongs to the session of a request, out of what belongs to each model's sessions."""
    of_model = sessions[asked.model]
    return of_model[asked.session % len(of_model)]


def _cut(chance: Random, *, streamed: bool) -> Cut | None:
    if chance.random() >= _CUTS_PER_CENT / 100:
        return None
    stream_cuts: tuple[Cut, ...] = ("before_the_head", "after_the_first_chunk", "mid_stream")
    return chance.choice(stream_cuts) if streamed else "before_the_head"


def _usage(chance: Random, surface: Surface, words: int) -> Usage:
    """Anthropic's surface tells what was written to the cache, and the others how much was reasoning."""
    is_messages = surface == "anthropic_messages"
    cache_read = chance.choice((0, 0, chance.randint(1, 4_000)))
    cache_write = chance.choice((0, 0, chance.randint(1, 900))) if is_messages else None
    reasoning = None if is_messages else chance.choice((0, chance.randint(1, 300)))
    return Usage(
        input_tokens=chance.randint(5, 500) + cache_read + (cache_write or 0),
        output_tokens=words + (reasoning or 0),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        reasoning_tokens=reasoning,
    )
