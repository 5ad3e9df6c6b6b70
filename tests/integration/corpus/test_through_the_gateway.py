"""Every case of the corpus through a real gateway: its row is the truth, by the provider's own wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from tests.corpus.case import MODEL, Case, Row, read_corpus
from tests.corpus.counting import Counted
from tests.corpus.provider import CorpusProvider
from tests.integration.corpus.through import NATIVE, Seen, Upstream, corpus_project, native_asks, run
from tests.integration.stand_process import Project

CORPUS = read_corpus()
OPTIONS: dict[str, dict[str, str]] = {json.dumps(case.options): case.options for case in CORPUS.values()}
UPSTREAMS = [
    Upstream("-".join(["corpus", *options]).replace("_", "-"), NATIVE, options) for options in OPTIONS.values()
]
each = pytest.mark.parametrize("case", CORPUS.values(), ids=str)


@pytest.fixture(scope="module")
def provider() -> Iterator[CorpusProvider]:
    with CorpusProvider(CORPUS) as running:
        yield running


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, provider: CorpusProvider) -> Project:
    return corpus_project(tmp_path_factory.mktemp("project"), provider, UPSTREAMS)


@pytest.fixture(scope="module")
def seen(project: Project, provider: CorpusProvider) -> Mapping[str, Seen]:
    """Every case, once."""
    upstream_of = dict(zip(OPTIONS, (upstream.name for upstream in UPSTREAMS), strict=True))
    asks = native_asks(CORPUS.values(), upstream_of)
    return {ask.name: found for ask, found in zip(asks, run(project, provider, UPSTREAMS, asks), strict=True)}


def as_told(row: Mapping[str, Any]) -> Row:
    """What a row of the ledger says, as a case says it."""
    told = {name: row[name] for name in Row.__struct_fields__ if name != "ttft"}
    return msgspec.convert({**told, "ttft": row["ttft_ms"] is not None}, Row)


def differences(expected: Row, found: Row) -> dict[str, tuple[Any, Any]]:
    """Where a row is not as it must be: what was expected, and what came."""
    wanted, got = msgspec.structs.asdict(expected), msgspec.structs.asdict(found)
    return {name: (wanted[name], got[name]) for name in wanted if wanted[name] != got[name]}


@each
def test_the_row_is_the_truth(seen: Mapping[str, Seen], case: Case) -> None:
    found = [as_told(row) for row in seen[case.name].rows]
    *earlier, last = case.rows
    expected = [*earlier, msgspec.structs.replace(last, **case.litellm_changes)]
    assert len(found) == len(expected)
    assert [differences(*pair) for pair in zip(expected, found, strict=True)] == [{}] * len(found)


@each
def test_the_row_has_what_the_provider_counted(seen: Mapping[str, Seen], provider: CorpusProvider, case: Case) -> None:
    rows, served = seen[case.name].rows, seen[case.name].served
    assert sum(row["attempts"] for row in rows) == len(served)
    told = [provider.counted(one) for one in served][-len(rows) :]
    for row, tokens in zip(rows, told, strict=True):
        if row["usage_source"] == "estimated":
            assert tokens == Counted()
        else:
            assert Counted(*(row[name] for name in Counted._fields)) == tokens


@each
def test_what_a_row_says_of_the_request(seen: Mapping[str, Seen], case: Case) -> None:
    for row in seen[case.name].rows:
        assert (row["surface"], bool(row["streamed"]), row["model_requested"]) == (case.surface, case.streamed, MODEL)
        assert row["model_served"] == (None if row["response_id"] is None else case.last.model)
        assert row["proxy_overhead_ms"] is None or row["proxy_overhead_ms"] > 0


@each
def test_the_provider_saw_how_the_client_left(seen: Mapping[str, Seen], case: Case) -> None:
    falls_silent = any(part.silent for part in case.last.parts)
    assert [one.left for one in seen[case.name].served] == [falls_silent] * len(seen[case.name].served)


@pytest.mark.parametrize("case", [case for case in CORPUS.values() if case.last.encoding], ids=str)
def test_an_answer_is_compressed_for_those_who_take_it(seen: Mapping[str, Seen], case: Case) -> None:
    [served] = seen[case.name].served
    takes_it = str(case.last.encoding) in served.accepted
    assert served.encoding == (case.last.encoding if takes_it else None)
    assert takes_it or case.last.encoding not in ("gzip", "deflate")


def test_no_text_of_prompts_or_answers_is_kept(seen: Mapping[str, Seen], project: Project) -> None:
    kept = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    said = [
        piece for case in CORPUS.values() for part in case.last.parts for piece in part.text or part.reasoning or ()
    ]
    told = {piece.strip() for piece in said if len(piece) > 9} | {"What is the capital", "Tell me a story"}
    assert b"openai_chat-streamed-plain" in kept
    assert len(told) > 10
    assert [text for text in told if text.encode() in kept] == []
