"""What a harness says of its version: asked once, for as long as its program stays the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentdyno.stand.inventory import read_harness


class Harness:
    """A program that counts how often it is asked."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "harness"
        self.asked = folder / "asked"
        self.cache = folder / "versions.json"
        self.become("one 1")

    def become(self, version: str) -> None:
        """Another version is installed."""
        self.program.write_text(f"#!/bin/sh\necho asked >> {self.asked}\necho {version}\n")
        self.program.chmod(0o700)

    def version(self, *command: str) -> str | None:
        """What the stand reads of it."""
        return read_harness(None, command or (str(self.program), "--version"), os.environ, self.cache).version

    @property
    def times_asked(self) -> int:
        """How often it ran."""
        return len(self.asked.read_text().splitlines())


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def test_a_program_that_stays_the_same_is_asked_once(harness: Harness) -> None:
    assert [harness.version(), harness.version()] == ["one 1", "one 1"]
    assert harness.times_asked == 1


def test_a_program_that_changed_is_asked_again(harness: Harness) -> None:
    harness.version()
    harness.become("one 10")

    assert harness.version() == "one 10"


def test_of_a_link_the_program_behind_it_counts(harness: Harness, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(harness.program)

    assert [harness.version(), harness.version(str(link), "--version")] == ["one 1", "one 1"]
    assert harness.times_asked == 1


def test_what_answers_for_another_program_is_asked_each_time(harness: Harness) -> None:
    command = ("sh", "-c", str(harness.program))

    assert harness.version(*command) == "one 1"
    harness.become("two 2")
    assert harness.version(*command) == "two 2"


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"a": 1}', "\xff"])
def test_a_damaged_file_is_written_anew(harness: Harness, damaged: str) -> None:
    harness.cache.write_text(damaged, encoding="latin-1")

    assert [harness.version(), harness.version()] == ["one 1", "one 1"]
    assert harness.times_asked == 1


def test_a_folder_that_takes_no_file_is_no_matter(harness: Harness, tmp_path: Path) -> None:
    harness.cache = tmp_path / "nowhere" / "versions.json"

    assert [harness.version(), harness.version()] == ["one 1", "one 1"]
    assert harness.times_asked == 2


def test_what_gives_no_answer_is_asked_again(harness: Harness) -> None:
    harness.program.write_text(f"#!/bin/sh\necho asked >> {harness.asked}\nexit 1\n")

    assert [harness.version(), harness.version()] == [None, None]
    assert harness.times_asked == 2
    assert list(harness.program.parent.glob("versions.json*")) == []


def test_a_program_is_asked_with_no_variables_but_those_given(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_ADMIN_KEY", "planted")
    harness.program.write_text('#!/bin/sh\necho "version 1 ${PLANTED_ADMIN_KEY:-of nobody}"\n')
    given = {"PATH": os.environ["PATH"]}

    found = read_harness(None, (str(harness.program), "--version"), given, harness.cache)

    assert found.version == "version 1 of nobody"
