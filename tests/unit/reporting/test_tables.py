from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agentdyno.reporting.tables import Column, Group, PlainTable, grouped_table, plain_table

NAME, COUNT, LABEL = (
    Column("name"),
    Column("how\nmany", "right", optional=True),
    Column("label", optional=True, prose=True),
)
LONG = "a-name-that-is-much-wider-than-the-terminal"


def lines(table: PlainTable, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(table, crop=False)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_table_is_as_wide_as_what_is_in_it() -> None:
    assert lines(plain_table((NAME, COUNT), [("one", "1"), ("three", "1,000")], "numbers")) == [
        "numbers",
        "         how",
        "name    many",
        "─────────────",
        "one        1",
        "three  1,000",
    ]


def test_a_column_without_values_is_left_out() -> None:
    assert lines(plain_table((NAME, COUNT, LABEL), [("one", None, None)]))[0].split() == ["name"]
    assert lines(plain_table((NAME,), []))[0] == "name"


@given(st.integers(20, 80), st.lists(st.text("abc/-_", min_size=1, max_size=50), min_size=1, max_size=4))
def test_names_stay_in_one_piece_however_narrow_the_terminal(width: int, names: list[str]) -> None:
    shown = lines(plain_table((NAME, COUNT), [(name, "1") for name in names]), width)

    assert [line.split() for line in shown[-len(names) :]] == [[name, "1"] for name in names]


def test_only_prose_is_wrapped() -> None:
    words = "words that go on and on and on"

    assert lines(plain_table((NAME, LABEL), [("one", words)]))[-1] == f"one   {words}"
    narrow = lines(plain_table((NAME, LABEL), [(LONG, words)]), 20)
    assert narrow[-2].split()[0] == LONG
    assert " ".join(" ".join(narrow[-2:]).split()[1:]) == words


def test_cells_are_literal() -> None:
    assert lines(plain_table((NAME,), [("[/] [bold]x",)]))[-1] == "[/] [bold]x"


def test_cells_cannot_steer_the_terminal() -> None:
    text = "\x1b[31mred\x9b0m\u202eback\nline\udcff größer"

    assert lines(plain_table((NAME,), [(text,)]))[-1] == r"\x1b[31mred\x9b0m\u202eback\nline\udcff größer"


def test_rows_below_what_they_are_of() -> None:
    groups = [Group(LONG, [("größer", "1,000"), ("b", "2")]), Group("\x1b[31m", [("c", "3")])]

    assert lines(grouped_table((NAME, Column("n", "right")), groups), 20) == [
        "  name        n",
        "───────────────",
        LONG,
        "  größer  1,000",
        "  b           2",
        r"\x1b[31m",
        "  c           3",
    ]


def test_a_line_below_what_it_is_of_stays_in_one_piece() -> None:
    assert [line.strip() for line in lines(grouped_table((NAME,), [Group(LONG, [(LONG,)])]), 20)[2:]] == [LONG, LONG]
