from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdyno.sessions.checks.patterns import paths_matching


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        ("README.md", ["README.md"], ["docs/README.md", "README.md.bak", "READMEXmd"]),
        ("./README.md", ["README.md"], ["x/README.md"]),
        ("*.md", ["a.md", ".md"], ["docs/a.md"]),
        ("src/*", ["src/a"], ["src/a/b", "src"]),
        ("src/**", ["src/a", "src/a/b.py"], ["src", "other/src/a"]),
        ("**/*.py", ["a.py", "src/a.py", "src/b/a.py"], ["a.pyc"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/a/b/test_c.py"], ["src/a/b.py", "test_a.py"]),
        ("**", ["a", "a/b", "new\nline"], []),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt", "/.txt"]),
        ("[!ab].txt", ["c.txt"], ["a.txt", "/.txt"]),
        ("[0-9].txt", ["7.txt"], ["-.txt"]),
        ("a[b", ["a[b"], ["ab"]),
        ("(a+)+$", ["(a+)+$"], ["aa"]),
    ],
)
def test_what_a_pattern_fits(pattern: str, fits: list[str], others: list[str]) -> None:
    expression = paths_matching([pattern])

    assert [path for path in fits if expression.fullmatch(path) is None] == []
    assert [path for path in others if expression.fullmatch(path) is not None] == []


def test_one_of_several_is_enough_and_none_fits_nothing() -> None:
    assert paths_matching(["a", "b"]).fullmatch("b")
    assert not paths_matching([]).fullmatch("")


@given(st.lists(st.text()))
def test_any_text_is_a_pattern(patterns: list[str]) -> None:
    paths_matching(patterns)


@given(st.text(st.characters(exclude_characters="*?[")).filter(lambda path: not path.startswith("./")))
def test_a_pattern_without_wildcards_fits_itself(path: str) -> None:
    assert paths_matching([path]).fullmatch(path)
