"""What a harness sent, in sizes and keyed digests: no text of a request gets beyond this module. Pure.

The key comes from the session's own credential. It is stored nowhere, is the same again after a restart of the gateway,
and ends with the session: digests of two sessions tell nothing of each other, and cannot be guessed at afterwards.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b

from agentdyno.core.dialects.wire import Part
from agentdyno.core.exchange import Anatomy

_DIGEST_BYTES = 9  # 12 letters, and no padding
_KEY_BYTES = 32
_MOST_PARTS = 10_000
"""So many have a digest. What comes behind them is measured and counted like all else."""


def digest_key(credential: str) -> bytes:
    """The key of the digests of what comes with a credential: the secret itself, as the harness sent it."""
    return blake2b(credential.encode(), digest_size=_KEY_BYTES, person=b"anatomy").digest()


def anatomy_of(parts: Sequence[Part], key: bytes) -> Anatomy:
    """The sizes of a request's parts, and what tells equal ones among those of the same key."""
    tools = tools_bytes = system_bytes = history_bytes = results_bytes = media_bytes = messages = 0
    for part in parts:
        media_bytes += part.media_bytes
        told_bytes = len(part.encoded) - part.media_bytes
        if part.kind == "tools":
            tools += part.tools
            tools_bytes += told_bytes
        elif part.kind == "system":
            system_bytes += told_bytes
        else:
            messages += 1
            results_bytes += part.tool_results_bytes
            history_bytes += told_bytes - part.tool_results_bytes
    return Anatomy(
        system_bytes=system_bytes,
        tools=tools,
        tools_bytes=tools_bytes,
        history_bytes=history_bytes,
        tool_results_bytes=results_bytes,
        media_bytes=media_bytes,
        messages=messages,
        prefix=_prefix(parts[:_MOST_PARTS], key),
    )


def _prefix(parts: Sequence[Part], key: bytes) -> list[tuple[str, int, str]]:
    keyed = blake2b(digest_size=_DIGEST_BYTES, key=key)
    prefix: list[tuple[str, int, str]] = []
    for kind, encoded, *_ in parts:
        digesting = keyed.copy()
        digesting.update(encoded)
        prefix.append((kind, len(encoded), urlsafe_b64encode(digesting.digest()).decode()))
    return prefix
