"""Where a session's key may stand, and that nothing of it goes on."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope
from tests.unit.gateway.credentials import KEY

from agentdyno.gateway.attribution import claim_of

CHAT = "/v1/chat/completions"
OTHER = b"AIza-of-the-harness"
Headers = list[tuple[bytes, bytes]]


def scope_of_request(path: str = CHAT, headers: Headers | None = None, query: bytes = b"") -> Scope:
    raw_path = quote(path).encode()
    return {"type": "http", "path": path, "raw_path": raw_path, "headers": headers or [], "query_string": query}


class Way(NamedTuple):
    """One way to carry a key."""

    path: str
    headers: Headers
    query: bytes = b""


WAYS = {
    "bearer": Way(CHAT, [(b"authorization", b"Bearer " + KEY.encode())]),
    "x-api-key": Way(CHAT, [(b"x-api-key", KEY.encode())]),
    "x-goog-api-key": Way(CHAT, [(b"x-goog-api-key", KEY.encode())]),
    "api-key": Way(CHAT, [(b"api-key", KEY.encode())]),
    "query": Way(CHAT, [], b"alt=sse&key=" + KEY.encode()),
    "encoded query": Way(CHAT, [], b"k%65y=" + KEY.replace("-", "%2D").encode()),
    "path": Way(f"/key/{KEY}{CHAT}", []),
    "all of them": Way(
        f"/key/{KEY}{CHAT}",
        [(name, KEY.encode()) for name in (b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie")],
        b"key=" + KEY.encode(),
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_key_is_found_and_nothing_of_it_goes_on(way: Way) -> None:
    headers = [*way.headers, (b"user-agent", b"a harness")]
    key, scope = claim_of(scope_of_request(way.path, headers, way.query))
    assert key == KEY
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (CHAT, CHAT.encode(), b"")
    assert scope["headers"] == [(b"user-agent", b"a harness")]
    assert KEY not in str(scope)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_key_of_the_harness_own_beside_it_does_not_matter(way: Way) -> None:
    beside = [(name, OTHER) for name in (b"x-api-key", b"x-goog-api-key", b"api-key")]
    for headers in ([*beside, *way.headers], [*way.headers, *beside]):
        key, scope = claim_of(scope_of_request(way.path, headers, b"key=theirs&" + way.query))
        assert key == KEY
        assert OTHER.decode() not in str(scope)


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ([(b"authorization", b"bearer  sk-1 ")], b"", "sk-1"),
        ([(b"x-api-key", b""), (b"authorization", b"Bearer sk-1")], b"", "sk-1"),
        ([(b"authorization", b"Bearer"), (b"x-api-key", b"sk-1")], b"", "sk-1"),
        ([(b"x-api-key", b"sk-2"), (b"authorization", b"Bearer sk-1")], b"key=sk-3", "sk-1"),
        ([], b"key=sk-3", "sk-3"),
        ([(b"authorization", b"Basic c2stMQ==")], b"", None),
        ([(b"authorization", b"Bearer ")], b"", None),
        ([(b"x-api-key", b" ")], b"key=&Key=sk-3", None),
        ([(b"cookie", b"key=sk-1")], b"api_key=sk-1", None),
        ([(b"x-api-key", b"\xff\xfe")], b"", "\xff\xfe"),
        ([], b"", None),
    ],
)
def test_what_is_no_sessions_key_is_taken_as_it_is(headers: Headers, query: bytes, key: str | None) -> None:
    assert claim_of(scope_of_request(CHAT, headers, query)).key == key


class TestAPathPrefix:
    @pytest.mark.parametrize("bare", [f"/key/{KEY}", f"/key/{KEY}/"])
    def test_alone_is_the_base_url_itself(self, bare: str) -> None:
        key, scope = claim_of(scope_of_request(bare))
        assert (key, scope["path"]) == (KEY, "/")

    def test_wins_over_a_sessions_key_in_a_header(self) -> None:
        headers = [(b"authorization", b"Bearer sk-dyno-another")]
        assert claim_of(scope_of_request(f"/key/{KEY}{CHAT}", headers)).key == KEY

    def test_with_a_key_of_nobody_is_not_taken_for_a_path(self) -> None:
        key, scope = claim_of(scope_of_request(f"/key/mistyped{CHAT}"))
        assert (key, scope["path"]) == ("mistyped", CHAT)

    @pytest.mark.parametrize("path", ["/key/generate", "/key//v1/messages", "/keys/a/v1/messages", f"/v1/key/{KEY}/x"])
    def test_is_not_seen_where_none_is(self, path: str) -> None:
        key, scope = claim_of(scope_of_request(path))
        assert (key, scope["path"]) == (None, path.replace("//", "/"))

    @given(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda rest: "/key/" not in f"/{rest}")
    )
    def test_leaves_every_path_behind_it_as_it_is_without_it(self, rest: str) -> None:
        behind, alone = (claim_of(scope_of_request(path)).scope for path in (f"/key/{KEY}/{rest}", f"/{rest}"))
        assert behind["path"] == alone["path"]


@pytest.mark.parametrize("path", [f"//{CHAT[1:]}", f"//key/{KEY}//v1//chat/completions", f"/key/{KEY}{CHAT}"])
def test_two_slashes_are_one(path: str) -> None:
    assert claim_of(scope_of_request(path)).scope["path"] == CHAT
