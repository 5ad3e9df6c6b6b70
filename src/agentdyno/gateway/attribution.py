"""Whose request it is: the session's key, wherever a harness can put one, and the request without it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qs, quote

from starlette.types import Scope

from agentdyno.core.ids import KEY_PATH_PREFIX, SESSION_KEY_PREFIX

_KEY_HEADERS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
_CREDENTIAL_HEADERS = frozenset({*_KEY_HEADERS, b"cookie"})
_KEY_PARAMETER = "key"
# Behind a session's key nothing need follow: some harnesses greet the base URL itself.
_KEY_PATH = re.compile(
    rf"{re.escape(KEY_PATH_PREFIX)}(?:(?P<key>[^/]+)(?P<path>/.*)|(?P<bare>{re.escape(SESSION_KEY_PREFIX)}[^/]*))",
    re.DOTALL,
)
_SLASHES = re.compile("/{2,}")


class Claim(NamedTuple):
    """A request taken apart into what it shows for admission, and the rest."""

    key: str | None
    scope: Scope
    """The ASGI scope as it goes on: nothing in it holds a credential."""


def claim_of(scope: Scope) -> Claim:
    """The key that a request carries, and the request without it.

    A key in the path of the base URL wins. Harnesses send keys of their own beside ours, so that among the others
    (bearer token, `x-api-key`, `x-goog-api-key`, `api-key`, query parameter `key`) the first counts that looks like a
    session's, or else the first there is. Of the query nothing goes on: LiteLLM writes its providers' anew, and what a
    client puts there would steer LiteLLM alone.
    """
    match = _KEY_PATH.fullmatch("/" + scope["path"].lstrip("/"))
    path = scope["path"] if match is None else (match["path"] or "/")
    path = _SLASHES.sub("/", path)  # a base URL that ends in a slash makes two of one
    headers = scope["headers"]
    stripped = {
        **scope,
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": b"",
        "headers": [(name, value) for name, value in headers if name not in _CREDENTIAL_HEADERS],
    }
    if match is not None:
        return Claim(match["key"] or match["bare"], stripped)
    return Claim(_presented(headers, scope.get("query_string", b"")), stripped)


def _presented(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> str | None:
    found = [
        token
        for wanted in _KEY_HEADERS
        for name, value in headers
        if name == wanted and (token := _token(name, value.decode("latin-1").strip()))
    ]
    found += parse_qs(query.decode("latin-1")).get(_KEY_PARAMETER, [])
    return next((key for key in found if key.startswith(SESSION_KEY_PREFIX)), next(iter(found), None))


def _token(name: bytes, value: str) -> str:
    if name != b"authorization":
        return value
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
