"""`dyno reconcile` and `dyno usage`, as processes, on both databases."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.ledgers import Ledgers, PostgresLedgers, empty_ledger, opened
from tests.integration.reporting.disputed_rows import fill
from tests.integration.stand_process import DYNO

from agentdyno.store.address import DATABASE_URL, PostgresAddress

Dyno = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def dyno(ledgers: Ledgers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dyno]:
    """`dyno …` beside a ledger that holds disputed requests."""
    home = tmp_path_factory.mktemp("home")
    environ = {**os.environ, "DYNO_HOME": str(home)}
    with contextlib.ExitStack() as stack:
        if isinstance(ledgers, PostgresLedgers):
            ledger = stack.enter_context(opened(ledgers))
            assert isinstance(ledger.address, PostgresAddress)
            environ[DATABASE_URL] = ledger.address.url
        else:
            environ.pop(DATABASE_URL, None)
            ledger = stack.enter_context(empty_ledger(home))
        fill(ledger)
        yield lambda *arguments, folder=home: subprocess.run(
            [DYNO, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )


@pytest.mark.parametrize(
    ("name", "exit_code", "line"),
    [
        ("ses_1", 0, "1 of 5 requests agrees; 4 differ, all explained"),
        ("ses_2", 3, "2 of 4 requests agree; 2 differ, 2 unexplained"),
        ("ses_3", 0, "1 of 1 request agrees"),
        ("trial", 3, "3 of 9 requests agree; 6 differ, 2 unexplained"),
    ],
)
def test_the_verdict_and_the_exit_code(dyno: Dyno, name: str, exit_code: int, line: str) -> None:
    done = dyno("reconcile", name)
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (exit_code, line, "")
    document = json.loads(dyno("reconcile", name, "--json").stdout)
    assert (document["unexplained"] > 0) == (exit_code == 3)


def test_the_mark_of_a_session(dyno: Dyno) -> None:
    heading, _, *sessions = dyno("session", "list").stdout.splitlines()
    assert "unexplained" in heading
    # Of the first two of five requests failed, the second has four and two of them marked, the third one.
    assert [line.split()[-2:] for line in sessions] == [["(2", "failed)"], ["4", "2"], ["00:00:00Z", "1"]]
    assert "unexplained  discrepancies in 2 requests" in dyno("session", "show", "ses_2").stdout
    assert json.loads(dyno("session", "show", "ses_2", "--json").stdout)["unexplained"] == 2
    assert "unexplained" not in dyno("session", "show", "ses_1").stdout
    assert "small: 1 session holds unexplained discrepancies" in dyno("compare", "trial").stdout


def test_a_provider_log(dyno: Dyno, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"request_id": "up-21", "input_tokens": 100, "output_tokens": 10, "status": 200}\n')
    done = dyno("reconcile", "ses_3", "--provider-log", str(log))
    told = "1 of 1 request agrees; the provider's log: 1 line, 1 matched, 0 differences"
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, told)
    log.write_text('{"request_id": "up-21", "input_tokens": 99}\n')
    assert dyno("reconcile", "ses_3", "--provider-log", str(log)).returncode == 3
    log.write_text('{"request_id": "up-21"}\n{"request_id": "up-21"}\n')
    assert dyno("reconcile", "ses_3", "--provider-log", str(log)).returncode == 3
    log.write_text('{"request_id": "up-21"}\n{"request_id": "up-1"}\n{"request_id": "of-nobody", "at_us": 5}\n')
    done = dyno("reconcile", "ses_3", "--provider-log", str(log))
    told = "3 lines, 1 matched, 1 of other sessions, 1 outside the session's time, 0 differences"
    assert (done.returncode, done.stdout.splitlines()[-1].partition("log: ")[2]) == (0, told)
    assert "whole log" in done.stdout
    log.write_text('{"request_id": "up-21", "input_tokens": -1}\n')
    done = dyno("reconcile", "ses_3", "--provider-log", str(log))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{log}:1: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_list_for_programs_holds_what_the_page_does(dyno: Dyno) -> None:
    first, second, _ = json.loads(dyno("session", "list", "--json").stdout)
    assert (first["session_id"], first["totals"]["requests"], first["totals"]["ok"]) == ("ses_1", 5, 3)
    assert (first["unexplained"], second["unexplained"]) == (0, 2)
    assert first["totals"]["uncounted"] == {"input_tokens": 1, "output_tokens": 2}
    assert json.loads(dyno("session", "show", "ses_1", "--json").stdout)["totals"] == first["totals"]


def test_requests_for_programs_hold_no_json_in_texts(dyno: Dyno) -> None:
    *_, retried, _ = json.loads(dyno("session", "show", "ses_1", "--requests", "--json").stdout)["requests"]
    assert [one["cause"] for one in retried["discrepancies"]] == ["retried"] * 3
    assert (retried["tags"], retried["harness_ids"], retried["prefix"]) == ([], {}, None)


def test_an_experiment_without_a_session_is_no_session(dyno: Dyno, tmp_path: Path) -> None:
    assert dyno("init", folder=tmp_path).returncode == 0
    done = dyno("reconcile", "smoke", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "experiment smoke has no session yet\n")
    for wrong, right in (("smokee", "smoke"), ("tril", "trial")):
        done = dyno("reconcile", wrong, folder=tmp_path)
        said = f'there is no session or experiment "{wrong}"; did you mean "{right}"?\n'
        assert (done.returncode, done.stderr) == (2, said)
    assert (
        dyno("reconcile", "ses_33", folder=tmp_path).stderr == 'there is no session "ses_33"; did you mean "ses_3"?\n'
    )


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        (["--by", "harness"], {"llm": 6, "mini": 4}),
        (["--by", "day"], {"1970-01-01": 9, "1970-01-04": 1}),
        (["--by", "day", "--since", "1970-01-02"], {"1970-01-04": 1}),
        (["--by", "day", "--since", "1970-01-01T00:02:00", "--until", "1970-01-01T00:02:20"], {"1970-01-01": 2}),
        (["--by", "model", "--experiment", "trial"], {"m": 9}),
        (["--by", "model", "--experiment", "trial", "--session", "ses_1"], {"m": 5}),
        (["--by", "provider", "--experiment", "trial", "--session", "ses_3"], {}),
    ],
    ids=" ".join,
)
def test_usage_of_a_window(dyno: Dyno, options: list[str], requests: dict[str, int]) -> None:
    used = json.loads(dyno("usage", *options, "--json").stdout)
    assert {group[options[1]]: group["requests"] for group in used} == requests


@pytest.mark.parametrize(
    "arguments",
    [
        ("reconcile", "nowhere"),
        ("reconcile", "ses_1", "--provider-log", "nowhere"),
        ("usage", "--by", "weather"),
        ("usage", "--by", "day", "--since", "yesterday"),
        ("usage", "--by", "day", "--session", "nowhere"),
        ("usage", "--by", "day", "--experiment", "nowhere"),
        ("usage",),
        ("reconcile",),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_is_told_in_one_line(dyno: Dyno, arguments: tuple[str, ...]) -> None:
    done = dyno(*arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_nothing_used_is_said(dyno: Dyno) -> None:
    assert dyno("usage", "--by", "key", "--until", "1970-01-01").stdout == "there is no such request\n"
