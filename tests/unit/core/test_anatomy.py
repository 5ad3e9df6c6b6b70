"""What is kept of a request's parts: sizes that add up, and digests that tell a changed part from an unchanged one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.sent_bodies import SURFACES, Talk, body_of, marked, talks

from agentdyno.core.anatomy import anatomy_of, digest_key
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.exchange import Anatomy
from agentdyno.core.records import Surface

KEY = digest_key("sk-dyno-one")
FEW = settings(max_examples=40, deadline=None)
SPACED, COMPACT = (", ", ": "), (",", ":")
NAMES = (
    *("model", "tools", "functions", "system", "systemInstruction", "instructions", "messages", "contents", "input"),
    *(
        "role",
        "content",
        "parts",
        "type",
        "text",
        "source",
        "output",
        "functionResponse",
        "inlineData",
        "cache_control",
    ),
)
WORDS = ("user", "assistant", "model", "tool", "text", "image", "tool_result", "function_call_output", "\ud83d", "é")
SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS) | st.text(max_size=3)
SENT = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=25,
)


def taken(surface: Surface, body: bytes, key: bytes = KEY) -> Anatomy | None:
    parts = DIALECTS[surface].request_parts(body)
    return None if parts is None else anatomy_of(parts, key)


def anatomy(surface: Surface, body: Any, separators: tuple[str, str] = COMPACT) -> Anatomy:
    found = taken(surface, json.dumps(body, separators=separators).encode())
    assert found is not None
    return found


def total_bytes(of: Anatomy) -> int:
    return of.system_bytes + of.tools_bytes + of.history_bytes + of.tool_results_bytes + of.media_bytes


@pytest.mark.parametrize("surface", SURFACES)
class TestOfAnyConversation:
    @FEW
    @given(talk=talks(), more=talks())
    def test_one_that_goes_on_begins_with_the_former(self, surface: Surface, talk: Talk, more: Talk) -> None:
        longer = talk._replace(said=talk.said + more.said)
        before, after = (anatomy(surface, body_of(surface, each)) for each in (talk, longer))
        assert after.prefix[: len(before.prefix)] == before.prefix
        assert after.messages == before.messages + len(more.said)

    @FEW
    @given(talk=talks(), data=st.data())
    def test_a_changed_byte_changes_the_digest_of_its_part_alone(
        self, surface: Surface, talk: Talk, data: st.DataObject
    ) -> None:
        place = data.draw(st.integers(0, len(talk.said) - 1))
        said = list(talk.said)
        said[place] = said[place]._replace(text=said[place].text[:-1] + "#")
        before, after = (
            anatomy(surface, body_of(surface, each)).prefix for each in (talk, talk._replace(said=tuple(said)))
        )
        changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        assert changed == [len(before) - len(talk.said) + place]
        kind, _, digest = before[changed[0]]
        assert after[changed[0]][0] == kind
        assert after[changed[0]][2] != digest

    @FEW
    @given(talk=talks())
    def test_all_parts_together_are_no_more_than_the_body(self, surface: Surface, talk: Talk) -> None:
        body = body_of(surface, talk)
        found = anatomy(surface, body)
        assert total_bytes(found) == sum(size_bytes for _, size_bytes, _ in found.prefix)
        assert total_bytes(found) <= len(json.dumps(body, separators=COMPACT))
        assert (found.tools, found.messages) == (len(talk.tools), len(talk.said))

    @FEW
    @given(talk=talks())
    def test_another_credential_makes_other_digests_of_the_same_sizes(self, surface: Surface, talk: Talk) -> None:
        body = json.dumps(body_of(surface, talk)).encode()
        one, other = taken(surface, body), taken(surface, body, digest_key("sk-dyno-other"))
        assert one is not None
        assert other is not None
        assert [part[:2] for part in one.prefix] == [part[:2] for part in other.prefix]
        assert not {digest for *_, digest in one.prefix} & {digest for *_, digest in other.prefix}

    @FEW
    @given(sent=st.dictionaries(st.sampled_from(NAMES), SENT, max_size=6))
    def test_nothing_raises_and_sizes_add_up(self, surface: Surface, sent: dict[str, Any]) -> None:
        body = json.dumps(sent).encode()
        found = taken(surface, body)
        assert (found is None) == (sent == {})
        if found is not None:
            assert total_bytes(found) == sum(size_bytes for _, size_bytes, _ in found.prefix) <= len(body)

    @FEW
    @given(talk=talks(), data=st.data())
    def test_nor_does_anything_where_a_byte_is_not_what_it_was(
        self, surface: Surface, talk: Talk, data: st.DataObject
    ) -> None:
        body = bytearray(json.dumps(body_of(surface, talk)).encode())
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        found = taken(surface, bytes(body))
        assert found is None or total_bytes(found) <= len(body)

    @FEW
    @given(
        body=st.binary(max_size=40).filter(lambda body: not body.lstrip().startswith(b"{"))
        | SENT.map(lambda sent: json.dumps([sent]).encode())
    )
    def test_what_is_no_object_has_none(self, surface: Surface, body: bytes) -> None:
        assert taken(surface, body) is None

    @pytest.mark.parametrize("name", ["messages", "contents", "input", "system", "tools"])
    @pytest.mark.parametrize("depth", [100, 900, 100_000])
    def test_nesting_beyond_all_sense_is_no_matter(self, surface: Surface, name: str, depth: int) -> None:
        for opened, closed in (('{"content":[', "]}"), ("[", "]")):
            body = f'{{"{name}":[{opened * depth}{closed * depth}]}}'.encode()
            found = taken(surface, body)
            assert found is None or total_bytes(found) <= len(body)


@pytest.mark.parametrize("surface", ["anthropic_messages", "openai_chat", "openai_responses"])
@pytest.mark.parametrize("separators", [SPACED, COMPACT])
@FEW
@given(talk=talks(), data=st.data())
def test_marks_for_the_cache_change_nothing_wherever_they_stand(
    surface: Surface, separators: tuple[str, str], talk: Talk, data: st.DataObject
) -> None:
    body = body_of(surface, talk)
    one, other = (marked(surface, body, data.draw) for _ in range(2))
    assert (
        anatomy(surface, one, separators) == anatomy(surface, other, separators) == anatomy(surface, body, separators)
    )


def test_a_key_ends_with_its_credential_and_is_not_told_by_it() -> None:
    assert digest_key("sk-dyno-one") == KEY
    assert digest_key("sk-dyno-two") != KEY
    assert b"sk-dyno-one" not in KEY
    assert len(KEY) == 32


def test_digests_are_short_words() -> None:
    [(kind, size_bytes, digest)] = anatomy("openai_chat", {"messages": [{"role": "user", "content": "hi"}]}).prefix
    assert (kind, size_bytes) == ("user", len('{"role":"user","content":"hi"}'))
    assert len(digest) == 12
    assert digest.replace("-", "").replace("_", "").isalnum()


def test_of_a_body_without_end_the_first_parts_have_digests_and_all_are_counted() -> None:
    found = anatomy("openai_chat", {"messages": [{"role": "user"}] * 10_001})
    assert (found.messages, len(found.prefix)) == (10_001, 10_000)
    assert found.history_bytes == 10_001 * len('{"role":"user"}')
