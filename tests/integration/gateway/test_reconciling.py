"""Three witnesses of real requests: where they agree, why they differ, and the provider's own count beside them."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key, ask, body, rows
from tests.integration.gateway.test_rows import TOOLS
from tests.integration.providers.provider_process import running
from tests.integration.stand_process import Project, StandProcess

WHOLE = ("cached", "hello", "write-file")
REFUSED = ("failing", "overloaded", "rate-limited")
SCRIPTS = (*WHOLE, *REFUSED, "cut", "fails-midway", "slow")
OWN = "own"
"""A provider that speaks each surface as the harness does."""
ACROSS = {
    "across-chat": "{litellm_provider: openai, path: /v1}",
    "across-messages": "{litellm_provider: anthropic}",
    "across-gemini": "{litellm_provider: gemini}",
}
"""Providers that speak one protocol, into which LiteLLM translates the others."""
KINDS = list(product(lab.PATHS, (False, True)))


class Bench(NamedTuple):
    """A project, its stand, and a provider that outlives it."""

    project: Project
    stand: StandProcess
    provider: str
    """Its address."""

    def log(self, path: Path) -> Path:
        """The provider's own count of what it served since it was last asked to forget, as a log."""
        served = httpx.get(f"{self.provider}/served").json()["requests"]
        path.write_text("".join(f"{json.dumps(request)}\n" for request in served))
        return path

    def forget_served(self) -> None:
        httpx.delete(f"{self.provider}/served").raise_for_status()

    def ask_all(self, key: Key, *, streamed_only: bool = False) -> int:
        """A request of every kind; how many those are."""
        kinds = [(surface, stream) for surface, stream in KINDS if stream or not streamed_only]
        for surface, stream in kinds:
            tools: dict[str, Any] = {"tools": TOOLS[surface]} if key.model == "write-file" else {}
            ask(self.stand, key, surface, stream=stream, **tools)
        return len(kinds)


@contextmanager
def bench_in(folder: Path) -> Iterator[Bench]:
    project = lab.small_project(folder)
    scripted = (folder / "configs/providers/scripted.yaml").read_text()
    with running("scripted", folder) as provider:
        own = scripted.replace("managed: scripted", f"base_url: {provider.url}")
        project.write(f"configs/providers/{OWN}.yaml", own)
        before, _, after = own.partition("routes:")
        for name, route in ACROSS.items():
            routes = "".join(f"  {surface}: {route}\n" for surface in lab.PATHS)
            project.write(
                f"configs/providers/{name}.yaml", f"{before}routes:\n{routes}{after[after.index('models:') :]}"
            )
        for name in (OWN, *ACROSS):
            lab.write_variants(project, SCRIPTS, provider=name)
        with StandProcess(project) as stand:
            yield Bench(project, stand, provider.url)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_in(tmp_path_factory.mktemp("bench")) as bench:
        yield bench


def reconciled(project: Project, session_id: str, *more: str, exit_code: int = 0) -> dict[str, Any]:
    done = project.run("reconcile", session_id, *more, "--json")
    assert done.returncode == exit_code, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def causes(document: dict[str, Any]) -> Counter[str]:
    return Counter(found["cause"] for one in document["disputed"] for found in one["discrepancies"])


@pytest.mark.parametrize("script", [*WHOLE, *REFUSED])
def test_without_a_translation_all_witnesses_agree(bench: Bench, tmp_path: Path, script: str) -> None:
    bench.forget_served()
    key = lab.open_session(bench.project, script, provider=OWN)
    asked = bench.ask_all(key)
    rows(bench.project, key.session_id, asked)

    log = bench.log(tmp_path / "log.jsonl")
    found = reconciled(bench.project, key.session_id, "--provider-log", str(log))
    assert {row["discrepancies"] for row in rows(bench.project, key.session_id, asked)} == {"[]"}
    assert (found["requests"], found["agreed"], found["in_flight"], found["awaited"]) == (asked, asked, 0, 0)
    assert [account["requests"] for account in found["accounts"]] == [asked] * 4
    assert len({json.dumps([*account.values()][3:]) for account in found["accounts"]}) == 1
    matched = found["provider_log"]
    assert (matched["lines"], matched["matched"], matched["unexplained"]) == (asked, asked, 0)
    # Gemini's wire names no cache writes, which the provider counts all the same.
    assert {(one["field"], one["cause"]) for one in matched["differences"]} <= {("cache_write_tokens", "not_told")}
    page = bench.project.dyno("reconcile", key.session_id)
    assert page.splitlines()[-1] == f"{asked} of {asked} requests agree"


@pytest.mark.parametrize("provider", ACROSS)
@pytest.mark.parametrize("script", ["cached", "failing", "fails-midway", "cut"])
def test_what_a_translation_loses_has_its_cause(bench: Bench, provider: str, script: str) -> None:
    key = lab.open_session(bench.project, script, provider=provider)
    asked = bench.ask_all(key, streamed_only=script in ("fails-midway", "cut"))
    rows(bench.project, key.session_id, asked)

    found = reconciled(bench.project, key.session_id)
    assert found["unexplained"] == 0
    told = causes(found)
    if script == "cached":
        assert set(told) == {"translated"}
        # The provider's figures are the row's, whatever became of them behind it.
        provider_account, _, harness, row = found["accounts"]
        assert [*provider_account.values()][3:] == [*row.values()][3:]
        assert harness["reasoning_tokens"] < row["reasoning_tokens"]
    elif script == "failing":
        assert set(told) <= {"proxy_record_twice", "no_proxy_record"}
    else:
        # Some attempts LiteLLM hangs up on only when its garbage is collected.
        assert {"translated", "awaited"} & set(told) or provider == "across-chat"


@pytest.mark.parametrize("provider", [OWN, *ACROSS])
def test_a_harness_that_leaves_is_accounted_for(bench: Bench, tmp_path: Path, provider: str) -> None:
    bench.forget_served()
    key = lab.open_session(bench.project, "slow", provider=provider)
    for surface, stream in KINDS:
        with pytest.raises(httpx.ReadTimeout):
            ask(bench.stand, key, surface, stream=stream, timeout=0.25)
    for surface in lab.PATHS:
        url = bench.stand.url + lab.path_of(surface, "slow", stream=True)
        with httpx.stream("POST", url, json=body(key, surface, stream=True), headers=key.headers) as answer:
            next(chunk for chunk in answer.iter_text() if "dyna" in chunk or " A" in chunk or '"A' in chunk)
    asked = len(KINDS) + len(lab.PATHS)
    rows(bench.project, key.session_id, asked)

    log = bench.log(tmp_path / "log.jsonl")
    found = reconciled(bench.project, key.session_id, "--provider-log", str(log))
    assert (found["requests"], found["unexplained"]) == (asked, 0)
    assert set(causes(found)) <= {
        *("harness_left", "no_proxy_record", "proxy_calls_cut_success", "proxy_estimated", "translated"),
    }
    # What the provider had made by then it counts, and told nobody; those that it had not begun to answer have no id.
    assert found["provider_log"]["lines"] == asked
    assert {one["cause"] for one in found["provider_log"]["differences"]} == {"harness_left"}


def test_what_a_killed_gateway_had_under_way_is_accounted_for(tmp_path: Path) -> None:
    with bench_in(tmp_path) as bench, ThreadPoolExecutor(len(KINDS)) as pool:
        project, stand = bench.project, bench.stand
        fast, slow = (lab.open_session(project, script, provider=OWN) for script in ("hello", "slow"))
        asked = bench.ask_all(fast)
        bench.forget_served()
        cut = [pool.submit(ask, stand, slow, surface, stream=stream) for surface, stream in KINDS]
        served = f"{bench.provider}/served"
        lab.wait_for("all at the provider", lambda: len(httpx.get(served).json()["requests"]) == len(KINDS))
        os.kill(stand.state["gateway_pid"], signal.SIGKILL)
        assert [type(request.exception()) for request in cut] == [httpx.RemoteProtocolError] * len(KINDS)
        stand.process.communicate(timeout=60)

        log = bench.log(tmp_path / "log.jsonl")
        found = reconciled(project, slow.session_id, "--provider-log", str(log))
        assert causes(found) == {"gateway_lost": len(KINDS)}
        assert {one["cause"] for one in found["provider_log"]["differences"]} == {"gateway_lost"}
        assert len(found["provider_log"]["differences"]) == len(KINDS)
        assert reconciled(project, fast.session_id)["agreed"] == asked

        # A line more than requests can have been lost is not explained by that.
        with log.open("a") as more:
            more.write('{"request_id": "of-nobody", "input_tokens": 5}\n')
        found = reconciled(project, slow.session_id, "--provider-log", str(log), exit_code=3)
        assert found["provider_log"]["unexplained"] == 1


def test_an_experiment_and_what_cannot_be_reconciled(bench: Bench, tmp_path: Path) -> None:
    assert bench.project.run("reconcile", "nowhere").returncode == 2
    key = lab.open_session(bench.project, "hello", provider=OWN)
    missing = bench.project.run("reconcile", key.session_id, "--provider-log", str(tmp_path / "none"))
    assert (missing.returncode, missing.stdout) == (2, "")
    (tmp_path / "bad").write_text('{"request_id": "a"}\n\n{"input_tokens": 3}\n')
    bad = bench.project.run("reconcile", key.session_id, "--provider-log", str(tmp_path / "bad"))
    assert bad.returncode == 2
    assert "bad:3: " in bad.stderr
