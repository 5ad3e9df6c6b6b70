"""Scripts out of YAML: what they mean, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentdyno.core.errors import ConfigFaults, UserError
from agentdyno.providers.script import Case, Cut, Failure, Latency, Script, ScriptedUsage, ToolUse, Turn, WriteFile
from agentdyno.providers.script_files import BUILT_IN, load_scripts, parse_script

NO_ANSWER = "turns[0] needs a text, a tool or both, or else an error without times and after_pieces"


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        parse_script("s.yaml", text)
    return [str(fault) for fault in caught.value.faults]


def test_a_script_with_everything() -> None:
    script = parse_script(
        "s.yaml",
        """
        name: all
        description: every kind of turn
        latency: {first_token_ms: 10}
        turns:
          - text: I write.
            tool: {write_file: {path: a/b.txt, text: "x\\n"}}
            latency: {first_token_ms: 1, per_token_ms: 0.5, jitter: 0.1}
          - tool: {shell: ls}
          - text: Done.
            usage: {input: 10, output: 4, cache_read: 6, cache_write: 4, reasoning: 4}
          - error: {status: 429, code: slow_down, message: Later., retry_after_s: 0}
          - {text: Now., error: {status: 529, message: Full., times: 2}}
          - {text: Half an answer., error: {status: 500, message: No., after_pieces: 1}}
          - {text: Half an answer., cut: {after_pieces: 0, times: 1}}
        """,
    )

    assert script == Script(
        name="all",
        description="every kind of turn",
        latency=Latency(first_token_ms=10),
        turns=(
            Turn("I write.", ToolUse(WriteFile("a/b.txt", "x\n")), latency=Latency(1, 0.5, 0.1)),
            Turn(tool=ToolUse(shell="ls")),
            Turn("Done.", usage=ScriptedUsage(10, 4, 6, 4, 4)),
            Turn(error=Failure(429, "Later.", "slow_down", 0)),
            Turn("Now.", error=Failure(529, "Full.", times=2)),
            Turn("Half an answer.", error=Failure(500, "No.", after_pieces=1)),
            Turn("Half an answer.", cut=Cut(0, times=1)),
        ),
    )


def test_the_last_turn_repeats_and_a_turn_may_have_a_latency_of_its_own() -> None:
    fast = Latency(1.0)
    script = Script("s", (Turn("one", latency=fast), Turn("two")), latency=Latency(2.0))

    assert [script.turn(index).text for index in range(4)] == ["one", "two", "two", "two"]
    assert [script.latency_of(index).first_token_ms for index in range(3)] == [1.0, 2.0, 2.0]


def test_a_script_answers_a_task_that_it_knows_by_its_words() -> None:
    script = parse_script(
        "s.yaml",
        """
        name: s
        latency: {first_token_ms: 7}
        turns: [{text: 'What?'}]
        cases:
          - {asked: note.txt, turns: [{text: A note.}]}
          - {asked: note, turns: [{text: Another., latency: {}}]}
        """,
    )

    assert script.cases == (Case("note.txt", (Turn("A note."),)), Case("note", (Turn("Another.", latency=Latency()),)))
    answers = [script.for_words(words).turn(0).text for words in ("Read note.txt.", "Take a note.", "Say hello.", "")]
    assert answers == ["A note.", "Another.", "What?", "What?"]
    assert script.for_words("note.txt").latency_of(0) == Latency(7)


def test_every_fault_of_a_case_is_told() -> None:
    assert faults_of("name: s\nturns: [{text: x}]\ncases: [{asked: '', turns: []}, {asked: a, turns: [{}]}]") == [
        "s.yaml:3: cases[0].asked is empty: it would fit every conversation",
        "s.yaml:3: cases[0].turns needs at least one turn",
        f"s.yaml:3: cases[1].{NO_ANSWER}",
    ]


def test_every_fault_of_a_field_has_its_line() -> None:
    assert faults_of("name: x\nturns:\n  - txt: hello\n  - error:\n      status: many\n") == [
        's.yaml:3: turns[0].txt is not a field here; did you mean "text"?',
        "s.yaml:4: turns[1].error.message is missing; expected text",
        's.yaml:5: turns[1].error.status expected a whole number, found "many"',
    ]


@pytest.mark.parametrize(
    ("turn", "fault"),
    [
        ("{}", NO_ANSWER),
        ("{text: hi, error: {status: 500, message: m}}", NO_ANSWER),
        ("{error: {status: 500, message: m, times: 1}}", NO_ANSWER),
        ("{error: {status: 500, message: m, after_pieces: 1}}", NO_ANSWER),
        ("{cut: {after_pieces: 1}}", NO_ANSWER),
        ("{text: hi, cut: {after_pieces: -1}}", "turns[0].cut.after_pieces is below zero"),
        ("{text: hi, cut: {after_pieces: 1, times: 0}}", "turns[0].cut.times is below one"),
        (
            "{text: hi, error: {status: 500, message: m, after_pieces: -1}}",
            "turns[0].error.after_pieces is below zero",
        ),
        ("{text: hi, error: {status: 500, message: m, times: 0}}", "turns[0].error.times is below one"),
        (
            "{text: hi, error: {status: 500, message: m, times: 1}, cut: {after_pieces: 1}}",
            "turns[0].cut cannot stand beside an error",
        ),
        ("{tool: {}}", "turns[0].tool needs either write_file or shell"),
        (
            "{error: {status: 200, message: m}}",
            "turns[0].error.status expected an HTTP error from 400 to 599, found 200",
        ),
        ("{error: {status: 500, message: m, retry_after_s: -1}}", "turns[0].error.retry_after_s is below zero"),
        ("{text: hi, latency: {per_token_ms: -1}}", "turns[0].latency.per_token_ms is below zero"),
        ("{text: hi, latency: {jitter: 2}}", "turns[0].latency.jitter is above one: delays would be below zero"),
        ("{text: hi, usage: {output: -1}}", "turns[0].usage.output is below zero"),
        ("{text: hi, usage: {cache_read: 3}}", "turns[0].usage.input must be at least 3, the sum of its parts"),
        # 3 read + 2 written = 5 of 4
        (
            "{text: hi, usage: {input: 4, cache_read: 3, cache_write: 2}}",
            "turns[0].usage.input must be at least 5, the sum of its parts",
        ),
        (
            "{text: hi, usage: {output: 1, reasoning: 2}}",
            "turns[0].usage.output must be at least 2, the sum of its parts",
        ),
    ],
)
def test_what_a_turn_may_not_say(turn: str, fault: str) -> None:
    assert faults_of(f"name: x\nturns:\n  - {turn}\n") == [f"s.yaml:3: {fault}"]


@pytest.mark.parametrize("text", ["", "name: [", "- a", "name: x\nturns: []", "name: \udcff", "turns: [{text: hi}]"])
def test_no_script_at_all(text: str) -> None:
    assert faults_of(text)


def test_a_folder_of_scripts_reports_the_faults_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nturns: [{}]\n")
    (tmp_path / "b.yaml").write_text("name: hello\nturns: [{text: hi}]\n")
    (tmp_path / "c.yaml").write_bytes(b"name: \xff\nturns: [{text: hi}]\n")
    (tmp_path / "readme.txt").write_text("no script")

    with pytest.raises(ConfigFaults) as caught:
        load_scripts([BUILT_IN, tmp_path])

    assert [Path(fault.file).name for fault in caught.value.faults] == ["a.yaml", "b.yaml", "c.yaml"]
    assert '"hello" is taken by another script' in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder of scripts at"):
        load_scripts([tmp_path / "none"])


def test_the_built_in_scripts() -> None:
    scripts = load_scripts([BUILT_IN])

    assert {
        *("hello", "write-file", "mini-swe-agent", "slow", "slow-start", "cached"),
        *("rate-limited", "rate-limited-once", "overloaded", "failing", "fails-midway", "cut", "cut-once"),
    } <= set(scripts)
    assert all(script.description for script in scripts.values())
