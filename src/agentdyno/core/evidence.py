"""What the spool says of one request: its lines, heard in any order, folded into the evidence for its row. Pure.

An `entered` line is only kept: the answer's line holds the same again, so that it is read only where no answer came.
That saves a third of the decoding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from agentdyno.core.dialects.wire import CONTENT_KINDS
from agentdyno.core.exchange import Anatomy, Answered, Entered, Identity, Made, Price, Routed, Tried
from agentdyno.core.ids import digest_bytes

UNREADABLE_LINE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a line may raise."""
ENTERED_HEAD, MADE_HEAD = b'{"kind":"entered","request_key":"', b'{"kind":"made","request_key":"'
"""How lines begin, as a gateway's encoder writes them."""
KIND_AT = slice(len(b'{"kind":"'), len(b'{"kind":"a'))
"""Where the first letter of a line's kind stands."""
KEY_BEGINS: Mapping[bytes, int] = MappingProxyType(
    {
        b"a": len(b'{"kind":"answered","entered":{"kind":"entered","request_key":"'),
        b"r": len(b'{"kind":"routed","request_key":"'),
        b"t": len(b'{"kind":"tried","request_key":"'),
    }
)
"""Where the key begins in a line of ours that goes on with a request, by that letter. In another's it is no key."""
_KEY = re.compile(rb'([!#-\[\]-~]*)"')
"""A key in which no letter is written by an escape."""
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
        """Whether the provider began to answer, and with no HTTP error."""
        return self.http_status is not None and self.http_status < 400


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


ReadRecord = Came | Attempt | Heard | Reported
_decoder = msgspec.json.Decoder(ReadRecord)
_made = msgspec.json.Decoder(Made)
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


def entered_key(line: bytes) -> bytes | None:
    """The request that came in by a line; None for any other line, and for one that no encoder of ours wrote."""
    found = _KEY.match(line, len(ENTERED_HEAD)) if line.startswith(ENTERED_HEAD) else None
    return None if found is None else found[1]


def read_made(line: bytes) -> Made:
    """The row that a gateway made. Raises one of UNREADABLE_LINE."""
    return _made.decode(line)


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
