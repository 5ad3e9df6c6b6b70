"""The spool: lines that survive their writer, segments that rotate, tails that tear, disks that fill up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.store import writing_process

from agentdyno.core.exchange import Entered
from agentdyno.store.spool import Line, SpoolWriter, is_live, lines_mentioning, read_blocks, runs

LINE_BYTES = len(msgspec.json.encode(writing_process.entered("req_1"))) + 1
ENOUGH = 2**40


def read(
    run: Path, segment: int = 1, offset_bytes: int = 0, *, ended: bool = False, limit_bytes: int = ENOUGH
) -> list[Line]:
    blocks = read_blocks(run, segment, offset_bytes, ended=ended, limit_bytes=limit_bytes)
    return [
        Line(block.segment, offset_bytes, data, block.torn)
        for block in blocks
        for offset_bytes, data in zip(block.offsets_bytes(), block.lines, strict=True)
    ]


def keys(run: Path) -> list[str]:
    return [msgspec.json.decode(line.data, type=Entered).request_key for line in read(run)]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SpoolWriter]:
    """A writer whose segments take three lines each."""
    opened = SpoolWriter(tmp_path / "spool", "gw_1", segment_bytes=3 * LINE_BYTES)
    yield opened
    opened.close()


@pytest.fixture
def run(writer: SpoolWriter, tmp_path: Path) -> Path:
    """The folder of that writer's run."""
    [folder] = runs(tmp_path / "spool")
    return folder


def append(writer: SpoolWriter, count: int) -> None:
    for number in range(1, count + 1):
        writer.append(writing_process.entered(f"req_{number}"))


class Writing:
    """A writer in another process."""

    def __init__(self, spool: Path, gateway_id: str = "gw_1") -> None:
        self.run = spool / gateway_id
        self.process = subprocess.Popen(
            [sys.executable, writing_process.__file__, str(spool), gateway_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def __call__(self, *order: str | int) -> tuple[str | None, int]:
        """Give an order; what went wrong, and how many records wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        return answer["full"], answer["backlog"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))


# ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_segments_rotate_before_they_grow_too_large(writer: SpoolWriter, run: Path) -> None:
    append(writer, 7)
    assert [path.stat().st_size // LINE_BYTES for path in sorted(run.glob("*.jsonl"))] == [3, 3, 1]
    assert keys(run) == [f"req_{number}" for number in range(1, 8)]


def test_a_record_larger_than_a_segment_gets_one_of_its_own(writer: SpoolWriter, run: Path) -> None:
    append(writer, 1)
    writer.append(writing_process.entered("long" * LINE_BYTES))
    append(writer, 1)
    assert [line.segment for line in read(run)] == [1, 2, 3]
    assert keys(run) == ["req_1", "long" * LINE_BYTES, "req_1"]


def test_reading_resumes_behind_any_line(writer: SpoolWriter, run: Path) -> None:
    append(writer, 7)
    everything = read(run)
    for number, line in enumerate(everything, start=1):
        assert read(run, line.segment, line.end_bytes) == everything[number:]


def test_about_as_much_is_read_as_asked_for(writer: SpoolWriter, run: Path) -> None:
    append(writer, 7)
    lengths = [len(read(run, limit_bytes=limit)) for limit in (1, LINE_BYTES, 4 * LINE_BYTES, ENOUGH)]
    assert lengths == [1, 1, 4, 7]


def test_mentions_are_found_backwards_from_a_line(writer: SpoolWriter, run: Path) -> None:
    append(writer, 7)
    append(writer, 7)
    tear(run, 5)
    everything = read(run)
    for until in everything:
        seen = [line for line in everything if line <= until]
        assert list(lines_mentioning(b'"req_2"', run, until)) == [
            line for line in reversed(seen) if b"req_2" in line.data
        ]
        assert list(lines_mentioning(b"entered", run, until)) == seen[::-1]
        assert list(lines_mentioning(b"nobody", run, until)) == []


def test_segments_that_are_gone_are_passed_over(writer: SpoolWriter, run: Path) -> None:
    append(writer, 7)
    everything = read(run)
    (run / "000001.jsonl").unlink()
    assert read(run) == everything[3:]
    assert read(run, 1, 3 * LINE_BYTES) == everything[3:]


@given(
    lines=st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")), max_size=30),
    tail=st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")),
    ended=st.booleans(),
)
def test_any_bytes_come_back_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], tail: bytes, ended: bool
) -> None:
    run = tmp_path_factory.mktemp("run")
    (run / "000001.jsonl").write_bytes(b"".join(line + b"\n" for line in lines) + tail)
    found = read(run, ended=ended)
    torn = [tail] if tail and ended else []
    assert [line.data for line in found] == [line + b"\n" for line in lines] + torn
    assert [line.torn for line in found] == [False] * len(lines) + [True] * len(torn)


def test_lines_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    lines = [b"x" * size for size in (300_000, 5, 2**18, 2**18 - 1, 0, 1_000_000)]
    (tmp_path / "000001.jsonl").write_bytes(b"\n".join(lines))
    found = read(tmp_path, ended=True)
    assert [line.data for line in found] == [*(line + b"\n" for line in lines[:-1]), lines[-1]]
    assert [line.torn for line in found] == [False] * 5 + [True]


# ── torn tails ───────────────────────────────────────────────────────────────────────────────────────────────────────


def tear(run: Path, segment: int) -> None:
    with (run / f"{segment:06d}.jsonl").open("ab") as file:
        file.write(b'{"kind":"ent')


def test_a_tail_without_newline_waits_while_its_writer_lives(writer: SpoolWriter, run: Path) -> None:
    append(writer, 1)
    tear(run, 1)
    assert [line.torn for line in read(run, ended=False)] == [False]
    assert [line.torn for line in read(run, ended=True)] == [False, True]


def test_a_tail_before_another_segment_is_torn(writer: SpoolWriter, run: Path) -> None:
    append(writer, 3)
    tear(run, 1)
    writer.append(writing_process.entered("req_4"))
    found = read(run, ended=False)
    assert [(line.segment, line.torn) for line in found] == [(1, False)] * 3 + [(1, True), (2, False)]
    assert found[3].end_bytes == (run / "000001.jsonl").stat().st_size
    assert read(run, 1, found[3].end_bytes) == found[4:]


# ── liveness ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_lives_until_its_writer_closes(writer: SpoolWriter, tmp_path: Path) -> None:
    other = SpoolWriter(tmp_path / "spool", "gw_0")
    assert [(run.name, is_live(run)) for run in runs(tmp_path / "spool")] == [("gw_0", True), ("gw_1", True)]
    other.close()
    assert [is_live(run) for run in runs(tmp_path / "spool")] == [False, True]


def test_a_closed_writer_writes_nowhere(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, "gw_1")
    writer.close()
    # The next files that are opened get the numbers that the writer's files had.
    with (tmp_path / "one").open("wb") as one, (tmp_path / "other").open("wb") as other:
        with pytest.raises(OSError, match="Bad file descriptor"):
            writer.append(writing_process.entered("req_1"))
        assert [os.fstat(file.fileno()).st_size for file in (one, other)] == [0, 0]


def test_a_folder_without_lock_or_name_is_no_live_run(tmp_path: Path) -> None:
    (tmp_path / "gw_old").mkdir()
    (tmp_path / ".gw_nascent").mkdir()
    assert [(run.name, is_live(run)) for run in runs(tmp_path)] == [("gw_old", False)]
    assert runs(tmp_path / "nowhere") == ()


def test_what_was_written_survives_the_kill_of_its_writer(tmp_path: Path) -> None:
    with Writing(tmp_path) as writing:
        writing("append", "req_1")
        writing("hold", "req_2")
        assert is_live(writing.run)
        writing.process.kill()
        writing.process.wait()
        assert not is_live(writing.run)
        assert keys(writing.run) == ["req_1", "req_2"]


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("room_bytes", [0, 1, LINE_BYTES - 1])
def test_without_room_nothing_is_half_written(tmp_path: Path, room_bytes: int) -> None:
    with Writing(tmp_path) as writing:
        writing("append", "req_1")
        writing("room", room_bytes)
        for _ in range(2):
            full, backlog = writing("append", "req_2")
            assert full is not None
            assert "free some disk" in full
            assert backlog == 0
            assert (writing.run / "000001.jsonl").stat().st_size == LINE_BYTES
        writing("room", ENOUGH)
        assert writing("append", "req_3") == (None, 0)
        assert keys(writing.run) == ["req_1", "req_3"]


def test_what_is_held_is_written_later_in_its_order(tmp_path: Path) -> None:
    with Writing(tmp_path) as writing:
        writing("room", LINE_BYTES)
        assert [writing("hold", f"req_{number}") for number in (1, 2, 3)] == [(None, 0), (None, 1), (None, 2)]
        full, backlog = writing("append", "req_refused")
        assert full is not None
        assert backlog == 2
        writing("room", LINE_BYTES)
        assert writing("hold", "req_4") == (None, 2)  # room for one of three
        writing("room", ENOUGH)
        assert writing("append", "req_5") == (None, 0)
        assert keys(writing.run) == ["req_1", "req_2", "req_3", "req_4", "req_5"]


def test_a_flush_says_whether_everything_is_written(tmp_path: Path) -> None:
    with Writing(tmp_path) as writing:
        writing("room", 0)
        writing("hold", "req_1")
        assert writing("flush")[0] is not None
        writing("room", ENOUGH)
        assert writing("flush") == (None, 0)
        assert keys(writing.run) == ["req_1"]


def test_a_spool_that_cannot_be_begun_is_refused_in_one_line(tmp_path: Path) -> None:
    beginning = subprocess.run(
        [sys.executable, "-c", NO_FILE_CAN_BE_OPENED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "gw_1 cannot be written: Too many open files" in beginning.stdout
    assert beginning.stdout.count("\n") == 1
    assert runs(tmp_path) == ()


NO_FILE_CAN_BE_OPENED = """
import resource, sys
from pathlib import Path
from agentdyno.core.errors import SpoolFull
from agentdyno.store.spool import SpoolWriter
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    SpoolWriter(Path(sys.argv[1]), "gw_1")
except SpoolFull as full:
    print(full)
"""
