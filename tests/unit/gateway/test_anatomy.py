"""What the ingress measures of a body, and of which requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.gateway.credentials import KEY
from tests.unit.gateway.metered import CHAT, GEMINI, MESSAGES, RESPONSES, Bench, Inner

from agentdyno.core.exchange import Anatomy, Answered

BODIES = {
    CHAT: b'{"model":"hello","tools":[{"type":"function"}],"messages":[{"role":"user","content":"marmalade"}]}',
    MESSAGES: b'{"model":"hello","tools":[{"name":"t"}],"messages":[{"role":"user","content":"marmalade"}]}',
    RESPONSES: b'{"model":"hello","tools":[{"type":"function"}],"input":"marmalade"}',
    GEMINI: b'{"tools":[{"googleSearch":{}}],"contents":[{"parts":[{"text":"marmalade"}]}]}',
}


def anatomy_of(bench: Bench) -> Anatomy | None:
    return bench.answered().anatomy


@pytest.mark.parametrize("path", BODIES)
def test_every_surface_is_measured(tmp_path: Path, path: str) -> None:
    bench = Bench(tmp_path, Inner())
    bench.call(path=path, body=BODIES[path])
    found = anatomy_of(bench)
    assert found is not None
    assert (found.tools, found.messages) == (1, 1)
    assert [kind for kind, *_ in found.prefix] == ["tools", "user"]
    assert "marmalade" not in str(bench.records())


def test_another_run_of_the_gateway_makes_the_same_digests(tmp_path: Path) -> None:
    found = []
    for run in ("first", "second"):
        bench = Bench(tmp_path / run, Inner())
        bench.call(body=BODIES[CHAT])
        found.append(anatomy_of(bench))
    assert found[0] is not None
    assert found[0] == found[1]


def test_the_same_key_makes_the_same_digests_wherever_it_stands(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Inner())
    bench.call(body=BODIES[CHAT])
    bench.call(body=BODIES[CHAT], headers=[(b"x-api-key", KEY.encode())])
    one, other = (record.anatomy for record in bench.records() if isinstance(record, Answered))
    assert one == other is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES + "/count_tokens", BODIES[MESSAGES]),
        (GEMINI.replace("generateContent", "countTokens"), BODIES[GEMINI]),
        (CHAT, BODIES[CHAT].replace(b"hello", b"slow")),
        (GEMINI, b"marmalade"),
    ],
    ids=["count", "gemini-count", "refused", "no JSON"],
)
def test_what_no_model_is_to_read_is_not_measured(tmp_path: Path, path: str, body: bytes) -> None:
    bench = Bench(tmp_path, Inner())
    bench.call(path=path, body=body)
    assert anatomy_of(bench) is None
