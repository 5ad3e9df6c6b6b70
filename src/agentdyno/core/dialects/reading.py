"""What the dialects share: tolerant reading of wire values, and the two shapes of an answer.

The wire is not trusted to be what its reference says. A value of the wrong type is an absent one, a document that
cannot be read is a fact about the answer, and nothing that could hold a sentence is kept.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import inspect

from agentdyno.core.dialects.sse import EventSplitter
from agentdyno.core.dialects.wire import Answer, Event, EventKind, RequestFacts, Tokens
from agentdyno.core.secrets import find_issued, find_secrets

UNREADABLE = (ValueError, RecursionError)
"""What `decode` raises: not JSON, not UTF-8, not the expected shape, or nested beyond all sense."""
_MAX_TEXT = 256
_MAX_IDENTIFIER = 1024  # LiteLLM wraps the id of a response into one of its own, of some 400 letters
_MAX_USAGE_BYTES = 16_384
_MAX_USAGE_NESTING = 64
_MAX_WORD = 64
_BEHIND_LATIN = "\u0250"  # some scripts set no blanks between words, so that a sentence would look like a name
_SHORTEST_SECRET = 9  # our own prefix and one letter
_MAX_COUNT = 2**53
"""No figure of any answer. Up to there sums of rows are exact, in whole numbers and in floats."""
_NOTHING = msgspec.Raw()
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_value = msgspec.json.Decoder()
_usages = msgspec.json.Decoder(list[dict[str, Any]])
# A word, never a sentence: what stands in the place of an error code is kept only in this form.
_CODE = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
_NO_CODE = frozenset({"None", "null"})
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_COUNT)] | None
"""A counter of a usage object. Zero is one; what is no natural number is none."""
Encoded = bytes | msgspec.Raw
T = TypeVar("T")


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON, lone surrogate escapes included. Raises one of UNREADABLE."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except ValueError:
        # JavaScript writes half an emoji as a lone surrogate, which the decoder refuses. Only texts hold such escapes,
        # and no text is kept, so that they can all be blunted.
        repaired = _SURROGATE.sub(rb"\\ufffd", data)
        if repaired == data:
            raise
        return decoder.decode(repaired)


def decode_answer(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON in which a member, or an item, of another type than declared is as if it were absent.

    Raises one of UNREADABLE; ValidationError where the whole is of another type.
    """
    try:
        return decode(data, decoder)
    except msgspec.ValidationError:
        return _as_declared(decode(data, _value), decoder)


def _as_declared(value: Any, decoder: msgspec.json.Decoder[T]) -> T:
    return msgspec.convert(_fitting(value, _declaration(decoder)), decoder.type)


@functools.lru_cache(maxsize=32)
def _declaration(decoder: msgspec.json.Decoder[Any]) -> inspect.Type:
    return inspect.type_info(decoder.type)


def _fitting(value: Any, declared: inspect.Type) -> Any:
    """What of a value is as it was declared; UNSET where nothing is."""
    match declared:
        case inspect.AnyType():
            return value
        case inspect.UnionType(types=types):
            fitting = (_fitting(value, one) for one in types)
            return next((found for found in fitting if found is not msgspec.UNSET), msgspec.UNSET)
        case inspect.StructType(fields=fields) if isinstance(value, dict):
            wanted = {field.encode_name: field.type for field in fields if field.encode_name in value}
            told = {member: _fitting(value[member], kind) for member, kind in wanted.items()}
            return {member: found for member, found in told.items() if found is not msgspec.UNSET}
        case inspect.ListType(item_type=item_type) if isinstance(value, list):
            fitting = (_fitting(item, item_type) for item in value)
            return [found for found in fitting if found is not msgspec.UNSET]
        case inspect.IntType() if natural(value) is not None:
            return value
        case inspect.NoneType() if value is None:
            return None
        case _:
            return msgspec.UNSET


def members(encoded: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, undecoded; none when it is something else."""
    return _parts(encoded, _members, {})


def items(encoded: bytes) -> list[msgspec.Raw]:
    """The items of a JSON array, undecoded; none when it is something else."""
    return _parts(encoded, _items, [])


def number(encoded: bytes) -> int | None:
    """What `natural` takes, undecoded yet."""
    return natural(_parts(encoded, _value, None))


def _parts(encoded: bytes, decoder: msgspec.json.Decoder[T], otherwise: T) -> T:
    try:
        return decode(encoded, decoder)
    except UNREADABLE:
        return otherwise


def text(value: Any, max_length: int = _MAX_TEXT) -> str | None:
    """A short text of the wire, to compare and not to keep; None for anything else."""
    return value if isinstance(value, str) and 0 < len(value) <= max_length else None


def name(value: Any) -> str | None:
    """A model or a reason, in a form to be kept: without blanks or control characters, and nothing like a secret."""
    found = _unbroken(value, _MAX_TEXT)
    return found if found is None or len(found) < _SHORTEST_SECRET or not find_secrets(found) else None


def identifier(value: Any) -> str | None:
    """An id, in a form to be kept: as `name`, though it may be as random as a secret, if no issuer's prefix says so."""
    found = _unbroken(value, _MAX_IDENTIFIER)
    return found if found is None or len(found) < _SHORTEST_SECRET or not find_issued(found) else None


def _unbroken(value: Any, max_length: int) -> str | None:
    found = text(value, max_length)
    broken = found is None or " " in found or max(found) >= _BEHIND_LATIN or not found.isprintable()
    return None if broken else found


def natural(value: Any) -> int | None:
    """A natural number of the wire, zero included, that can be a count of tokens; None for anything else."""
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else None


def first_told(counts: Iterable[int | None]) -> int | None:
    """The first that is known."""
    return next((count for count in counts if count is not None), None)


def read_usages(encoded: Encoded, decoder: msgspec.json.Decoder[list[T]]) -> list[T]:
    """Usage objects as their dialect has them, from a JSON array. A member of another type is as if it were absent.

    Raises one of UNREADABLE for what is no array of objects.
    """
    try:
        return decoder.decode(encoded)
    except msgspec.ValidationError:
        return _as_declared(_usages.decode(encoded), decoder)


def usage_object(value: Any) -> dict[str, Any] | None:
    """A usage object to be kept verbatim, less what may be prose; None when it is none, or of a size that none has.

    Names and texts that are no word are left out, each with what it names.
    """
    if not isinstance(value, dict) or not value:
        return None
    encoded = msgspec.json.encode(value)
    nesting = encoded.count(b"{") + encoded.count(b"[")
    if len(encoded) > _MAX_USAGE_BYTES or nesting > _MAX_USAGE_NESTING:
        return None
    return {key: _without_prose(item) for key, item in value.items() if _is_word(key) and _may_be_kept(item)} or None


def _without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_prose(item) for key, item in value.items() if _is_word(key) and _may_be_kept(item)}
    if isinstance(value, list):
        return [_without_prose(item) for item in value if _may_be_kept(item)]
    return value


def _may_be_kept(value: Any) -> bool:
    return not isinstance(value, str) or _is_word(value)


def _is_word(value: str) -> bool:
    return len(value) <= _MAX_WORD and (not value or _is_name(value))


@functools.lru_cache(maxsize=1024)
def _is_name(value: str) -> bool:
    """Whether `name` takes a text. The words of usage objects are always the same few."""
    return name(value) is not None


def error_code(error: Any, names: tuple[str, ...] = ("code", "type")) -> str | None:
    """The first of these members of an error object that is a code; `error` when none is, None without an error."""
    if not error:
        return None
    if isinstance(error, dict):
        for name in names:
            code = error.get(name)
            if type(code) is int:
                code = str(code)
            if isinstance(code, str) and _CODE.fullmatch(code) and code not in _NO_CODE and not find_secrets(code):
                return code
    return "error"


def possible(tokens: Tokens) -> Tokens:
    """Tokens without the parts that cannot be true of their whole.

    Input and output stay as they were reported, unless they are beyond all sense. A part larger than its whole becomes
    unknown; so do cache reads and writes that each fit but exceed the input together, for nothing tells which of them
    is wrong.
    """
    read, write, reasoning, hour = tokens.cache_read, tokens.cache_write, tokens.reasoning, tokens.cache_write_1h
    if tokens.input is not None and tokens.input > _MAX_COUNT:  # a sum of figures that each were possible
        return possible(tokens._replace(input=None, cache_read=None, cache_write=None))
    if tokens.output is not None and tokens.output > _MAX_COUNT:
        return possible(tokens._replace(output=None, reasoning=None))
    if tokens.input is not None:
        read = None if read is not None and read > tokens.input else read
        write = None if write is not None and write > tokens.input else write
        if read is not None and write is not None and read + write > tokens.input:
            read = write = None
    if tokens.output is not None and reasoning is not None and reasoning > tokens.output:
        reasoning = None
    if hour is not None and (write is None or hour > write):
        hour = None
    return Tokens(tokens.input, tokens.output, read, write, reasoning, hour)


class _RequestBody(msgspec.Struct):
    model: Any = None
    stream: Any = None
    tools: msgspec.Raw = _NOTHING
    functions: msgspec.Raw = _NOTHING
    """What a chat's tools were called before."""
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None


_request_body = msgspec.json.Decoder(_RequestBody)


def read_request(body: bytes, *limits: str) -> RequestFacts:
    """Facts of a request's body. `limits` are its names for the limit of the output: the first that has a value holds.

    No message and no tool is decoded, so that half a megabyte of them takes less than a millisecond.
    """
    try:
        request = decode(body, _request_body)
    except UNREADABLE:
        return RequestFacts(None, False)
    told = (natural(getattr(request, limit)) for limit in limits)
    return RequestFacts(
        model=name(request.model),
        streamed=request.stream is True,
        offers_tools=bool(items(request.tools) or items(request.functions)),
        output_limit_tokens=next((limit for limit in told if limit is not None), None),
    )


class StreamReader:
    """Reads a streamed answer with a dialect's way to read the data of one event.

    Behind a stream's terminal event nothing counts: a client that reads it piece by piece has hung up.
    """

    def __init__(self, read_event: Callable[[Answer, bytes], EventKind]) -> None:
        self.answer = Answer([], [])
        self._read_event = read_event
        self._splitter = EventSplitter()

    def feed(self, data: bytes, offset_us: int) -> None:
        """Take the next bytes. An event's size is that of its data."""
        for event in self._splitter.feed(data, offset_us):
            try:
                kind = "other" if self.answer.complete else self._read_event(self.answer, event.data)
            except msgspec.ValidationError:
                kind = "other"
            except UNREADABLE:
                kind = "malformed"
            self.answer.events.append(Event(kind, event.offset_us, len(event.data)))

    def finish(self) -> None:
        """An event that no blank line ended is discarded, as every client does."""


class DocumentReader:
    """Reads an answer that is one JSON document with a dialect's way to read its bytes."""

    def __init__(self, read_document: Callable[[Answer, bytes], None]) -> None:
        self.answer = Answer([], [])
        self._read_document = read_document
        self._pieces: list[bytes] = []

    def feed(self, data: bytes, offset_us: int) -> None:
        """Keep the bytes until all are there."""
        self._pieces.append(data)

    def finish(self) -> None:
        """Read the document. Once: what was read is let go."""
        body = b"".join(self._pieces)
        self._pieces.clear()
        try:
            self._read_document(self.answer, body)
        except msgspec.ValidationError:
            self.answer.complete = True  # JSON, though not of this dialect
        except UNREADABLE:
            return
        else:
            self.answer.complete = True
