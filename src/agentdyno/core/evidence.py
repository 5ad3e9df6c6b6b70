"""What the spool says of one request: its lines, heard in any order, folded into the evidence for its row. Pure.

An `entered` line is only kept: the answer's line holds the same again, so that it is read only where no answer came.
That saves a third of the decoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, cast

import msgspec

from agentdyno.core.dialects.wire import CONTENT_KINDS
from agentdyno.core.exchange import Anatomy, Answered, Entered, Identity, Made, Price, Routed, Tried, Whole
from agentdyno.core.fields import fields_of
from agentdyno.core.ids import digest_bytes
from agentdyno.core.records import Request

UNREADABLE_LINE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a line may raise."""
ENTERED, MADE = b"entered", b"made"
_KINDS = (ENTERED, b'answered","entered":{"kind":"entered', b"routed", b"tried", MADE)
"""What stands before the key in a line of each kind, as a gateway's encoder writes it."""
# A key in which a letter is written by an escape is none that a gateway gives.
_HEAD = re.compile(rb'(?:\{"kind":"(%b)","request_key":"([!#-\[\]-~]*)")?' % b"|".join(map(re.escape, _KINDS)))
Head = tuple[bytes | None, bytes | None]
"""Of a line that is not read: its kind, with all that stands before the key, and its key. Nothing of another's line."""
_FIELDS = len(fields_of(Request))
_EMPTY, _NOTHING = msgspec.Raw(b"[]"), msgspec.Raw(b"null")
_NUL, _REPLACEMENT = rb"\u0000", rb"\ufffd"
# Within JSON no text can look like this: it is the beginning of an array.
_FIRST_CONTENT = re.compile(rb'\["(?:%b)",(\d+),' % "|".join(sorted(CONTENT_KINDS)).encode())


class Came(Entered, frozen=True, gc=False, tag="entered"):
    """A request as it is read. To whom it belongs stays JSON: many requests have the same."""

    identity: msgspec.Raw = _NOTHING  # type: ignore[assignment]  # written as a record, read as its JSON


class Parts(Anatomy, frozen=True, gc=False):
    """What a harness sent, as it is read. Its prefix stays JSON, as a row has it."""

    prefix: msgspec.Raw = _EMPTY  # type: ignore[assignment]  # written as a list, read as its JSON


class Attempt(Tried, frozen=True, gc=False, tag="tried"):
    """An attempt as it is read. Its usage objects stay JSON, which their dialect reads."""

    usages: msgspec.Raw = _EMPTY  # type: ignore[assignment]  # written as a list, read as its JSON

    @property
    def succeeded(self) -> bool:
        """Whether the provider began to answer: neither with an HTTP error, nor by pointing elsewhere."""
        return self.http_status is not None and 200 <= self.http_status < 300

    @property
    def endless(self) -> bool:
        """Whether the provider ended a stream without the event that ends it, though it may have told why it ends."""
        over = self.complete or self.abandoned or self.surface is None  # which no dialect reads
        return self.succeeded and self.streamed and not over


class Heard(Answered, frozen=True, gc=False, tag="answered"):
    """An answer as it is read.

    The skeleton of its stream stays JSON, of which a row needs one event, and so do the usage objects, which their
    dialect reads, and the price, which many requests share.
    """

    entered: Came
    events: msgspec.Raw = _EMPTY  # type: ignore[assignment]  # written as a list, read as its JSON
    usages: msgspec.Raw = _EMPTY  # type: ignore[assignment]  # likewise
    anatomy: Parts | None = None
    price: msgspec.Raw = _NOTHING  # type: ignore[assignment]  # written as a record, read as its JSON

    @property
    def request_key(self) -> str:
        """The request that it answers."""
        return self.entered.request_key

    @property
    def at_us(self) -> int:
        """When it ended."""
        return self.entered.at_us + self.ended_offset_us

    @property
    def in_events(self) -> bool:
        """Whether it came as a stream."""
        return len(self.events) > 2

    @property
    def first_content_us(self) -> int | None:
        """Offset of the first content delta; None when there was none."""
        found = _FIRST_CONTENT.search(self.events)
        return None if found is None else int(found[1])


class Reported(Routed, frozen=True, gc=False, tag="routed"):
    """LiteLLM's report as it is read. Its usage object stays JSON: it is asked only where the wire told none."""

    usage: msgspec.Raw = _NOTHING  # type: ignore[assignment]  # written as an object, read as its JSON

    @property
    def usages(self) -> bytes:
        """A JSON array of its usage object, empty where it has none."""
        return b"[]" if self.usage == _NOTHING else b"[%b]" % self.usage


class Foretold(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="made"):
    """What the line of a row says before the row. One that says nothing tells of no records."""

    request_key: str
    normalizer_version: Whole
    records: Whole = 0
    session_id: str | None = None
    ended_at_us: Whole = 0


class Row(Made, frozen=True, gc=False, tag="made"):
    """A row as it is read."""

    row: Annotated[tuple[Any, ...], msgspec.Meta(min_length=_FIELDS, max_length=_FIELDS)]


ReadRecord = Came | Attempt | Heard | Reported
_decoder = msgspec.json.Decoder(ReadRecord)
_row, _foretold = msgspec.json.Decoder(Row), msgspec.json.Decoder(Foretold)
_identity: msgspec.json.Decoder[Identity | None] = msgspec.json.Decoder(Identity | None)
_price: msgspec.json.Decoder[Price | None] = msgspec.json.Decoder(Price | None)


def read_record(line: bytes) -> ReadRecord:
    """The record of a line. Raises one of UNREADABLE_LINE."""
    # A client may put a NUL into a path or a name. PostgreSQL holds it in no text, so that no ledger does.
    # Most lines have no backslash at all, which is found out ten times as fast.
    record: ReadRecord = _decoder.decode(line.replace(_NUL, _REPLACEMENT) if b"\\" in line else line)
    return record


def read_identity(encoded: bytes | msgspec.Raw) -> Identity | None:
    """To whom a request belongs; None for nobody. Raises one of UNREADABLE_LINE."""
    return _identity.decode(encoded)


def read_price(encoded: bytes | msgspec.Raw) -> Price | None:
    """By which a request's tokens are priced; None for none. Raises one of UNREADABLE_LINE."""
    return _price.decode(encoded)


def heads(lines: Iterable[bytes]) -> list[Head]:
    """The heads of lines."""
    match = _HEAD.match
    found = [match(line).groups() for line in lines]  # type: ignore[union-attr]  # nothing too is a match
    return cast("list[Head]", found)


def read_foretold(line: bytes) -> Foretold:
    """What the line of a row that a gateway made says before it. Raises one of UNREADABLE_LINE."""
    return _foretold.decode(line)


def read_row(line: bytes) -> tuple[Any, ...]:
    """The row that a gateway made. Raises one of UNREADABLE_LINE."""
    return _row.decode(line).row


def _order_of_attempts(attempt: Attempt) -> tuple[int, int, bytes]:
    """Of two that a line was damaged into the same number, an order all the same."""
    return attempt.attempt, attempt.at_us, msgspec.json.encode(attempt)


class Evidence(msgspec.Struct, gc=False):
    """The records of one request so far. It makes no difference in which order they came."""

    entered_line: bytes | None = None
    answered: Heard | None = None
    answered_line: bytes | None = None
    routed: tuple[Reported, ...] = ()
    """More than one where LiteLLM retried or fell back."""
    routed_lines: tuple[bytes, ...] = ()
    tried: tuple[Attempt, ...] = ()
    """By their number."""
    tried_lines: tuple[bytes, ...] = ()

    def hear(self, record: ReadRecord, line: bytes) -> None:
        """Take a record, and the line that it was read from."""
        if isinstance(record, Heard):
            self.answered, self.answered_line = record, line
        elif isinstance(record, Reported):
            self.routed += (record,)
            self.routed_lines += (line,)
        elif isinstance(record, Attempt):
            if line in self.tried_lines:
                return  # a copy: no two attempts have one number
            self.tried = tuple(sorted((*self.tried, record), key=_order_of_attempts)) if self.tried else (record,)
            self.tried_lines += (line,)
        else:
            self.entered_line = line

    @property
    def entered(self) -> Came | None:
        """The request itself, by whichever line tells of it. Raises one of UNREADABLE_LINE."""
        if self.answered is not None:
            return self.answered.entered
        record = None if self.entered_line is None else read_record(self.entered_line)
        return record if isinstance(record, Came) else None

    @property
    def records(self) -> int:
        """How many there are."""
        return (self.entered_line is not None) + (self.answered_line is not None) + len(self.routed) + len(self.tried)

    @property
    def digest(self) -> str:
        """Digest of the lines: the answer's, or else the request's, and the others in an order of their own."""
        told = self.answered_line or self.entered_line or b""
        return digest_bytes(told, *sorted(self.routed_lines + self.tried_lines))

    @property
    def headless(self) -> bool:
        """It was forwarded, so its first record must be in the spool, but is not among these."""
        return self.entered_line is None and (self.answered is None or self.answered.forwarded)

    @property
    def settled(self) -> bool:
        """Nothing more is to be expected."""
        answered = self.answered
        if answered is None or len(self.tried) < (answered.attempts or 0):
            return False
        return bool(self.routed) or not answered.forwarded
