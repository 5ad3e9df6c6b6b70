"""Records as JSON, and digests in which a field at its default says nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from agentdyno.core.jsonable import content_digest, to_jsonable


@dataclass(frozen=True)
class Jar:
    label: str
    lid: bool | int = 1
    note: str | None = None
    fruits: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class OlderJar:
    """What `Jar` was before it had a note."""

    label: str


@dataclass(frozen=True)
class Shelf:
    jars: tuple[Jar, ...]
    by_name: Mapping[str, Jar] = field(default_factory=dict)


class Place(NamedTuple):
    row: int


def test_a_field_at_its_default_changes_nothing() -> None:
    assert content_digest(Jar("a", lid=1, note=None, fruits=(), sizes={})) == content_digest(Jar("a"))
    assert content_digest(Jar("a")) == content_digest(OlderJar("a"))


@pytest.mark.parametrize(
    "changes",
    [{"label": "b"}, {"lid": 0}, {"note": ""}, {"note": "1"}, {"fruits": ("orange",)}, {"sizes": {"large": 1}}],
)
def test_a_changed_field_changes_the_digest(changes: dict[str, object]) -> None:
    assert content_digest(dataclasses.replace(Jar("a"), **changes)) != content_digest(Jar("a"))  # type: ignore[arg-type]  # one field each


def test_true_is_not_1() -> None:
    assert content_digest(Jar("a", lid=True)) != content_digest(Jar("a", lid=1))


def test_records_inside_records_are_told_by_their_content_too() -> None:
    assert content_digest(Shelf((Jar("a", note=None),))) == content_digest(Shelf((Jar("a"),), by_name={}))
    assert content_digest(Shelf((Jar("a", note="x"),))) != content_digest(Shelf((Jar("a"),)))
    assert content_digest(Shelf((), {"a": Jar("a", lid=1)})) == content_digest(Shelf((), {"a": Jar("a")}))
    assert content_digest(Shelf((Jar("a"), Jar("b")))) != content_digest(Shelf((Jar("b"), Jar("a"))))


def test_every_field_is_in_the_json() -> None:
    assert to_jsonable(Jar("a", sizes={"large": 2})) == {
        "label": "a",
        "lid": 1,
        "note": None,
        "fruits": [],
        "sizes": {"large": 2},
    }


def test_what_json_has_no_form_for() -> None:
    assert to_jsonable((Place(3), b"\xff", 0, False)) == [{"row": 3}, "ff", 0, False]
