"""Canonical JSON, content digests, time-ordered ids and session keys.

Everything here is pure: time and randomness come in as arguments.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Protocol

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BYTES = 10
# "sk-" because LiteLLM hashes only such tokens in its own records; anything else it keeps raw.
SESSION_KEY_PREFIX = "sk-dyno-"
KEY_PATH_PREFIX = "/key/"
"""What stands before a session key in the path of a base URL, for harnesses that can carry it nowhere else."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8 kept, NaN refused (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """A tagged SHA-256 of the canonical JSON, so that the algorithm can change without ambiguity."""
    return "sha256:" + hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_bytes(data: bytes, *more: bytes) -> str:
    """A tagged SHA-256 of raw bytes, as if all of them were in one piece."""
    sha256 = hashlib.sha256(data)
    for piece in more:
        sha256.update(piece)
    return "sha256:" + sha256.hexdigest()


def time_ordered_id(prefix: str, now_us: int, random: bytes) -> str:
    """`prefix_` + 10 characters of milliseconds + 16 of randomness: sorts by time as text.

    `random` must be 10 bytes (80 bits, as in the ULID specification), else ValueError.
    """
    if len(random) != _RANDOM_BYTES:
        raise ValueError(f"an id needs {_RANDOM_BYTES} random bytes, not {len(random)}")
    value = ((now_us // 1000) << 80) | int.from_bytes(random, "big")
    digits = [_CROCKFORD[(value >> (5 * place)) & 31] for place in range(25, -1, -1)]
    return f"{prefix}_{''.join(digits)}"


def session_key(random: bytes) -> str:
    """A session's secret from 32 random bytes. It is shown once and stored nowhere; see `key_hash`."""
    return SESSION_KEY_PREFIX + urlsafe_b64encode(random).decode().rstrip("=")


def key_hash(key: str) -> str:
    """The hex SHA-256 of a session key: what the ledger keeps instead of it."""
    return hashlib.sha256(key.encode()).hexdigest()


class Attributed(Protocol):
    """Whatever belongs to a session."""

    @property
    def session_id(self) -> str: ...
    @property
    def experiment(self) -> str | None: ...
    @property
    def variant(self) -> str: ...
    @property
    def task_card(self) -> str: ...


def attribution(whose: Attributed) -> dict[str, str | None]:
    """The ids by which something is attributed, under the names that tags and keys of other systems have them."""
    return {
        "session": whose.session_id,
        "experiment": whose.experiment,
        "variant": whose.variant,
        "task_card": whose.task_card,
    }


def session_tags(ids: Mapping[str, str | None]) -> tuple[str, ...]:
    """The request tags of a session, `name:value`, absent ids left out."""
    return tuple(f"{name}:{value}" for name, value in ids.items() if value is not None)
