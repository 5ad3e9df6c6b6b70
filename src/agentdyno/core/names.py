"""Names as people type them: which are valid, and which valid one is nearest to a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""What an entity may be called."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like `name`, letter case aside; None when none is like it."""
    by_lowercase = {candidate.lower(): candidate for candidate in sorted(valid)}
    found = difflib.get_close_matches(name.lower(), by_lowercase, n=1, cutoff=0.6)
    return by_lowercase[found[0]] if found else None


def suggestion(name: str, valid: Iterable[str]) -> str:
    """What to say instead of a wrong name: the nearest valid one, or else all there are."""
    choices = sorted(valid)
    near = nearest(name, choices)
    if near is not None:
        return f'did you mean "{near}"?'
    return "there is " + (", ".join(f'"{choice}"' for choice in choices) if choices else "none")


def is_path_below(path: str) -> bool:
    """Whether a path as people write it stays below the folder that it is meant for."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts
