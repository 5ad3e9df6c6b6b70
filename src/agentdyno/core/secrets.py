"""What looks like a secret in a text, so that it can be refused in a configuration and blotted out of a message.

Two ways to look like one: the prefix of a well-known issuer, or a long run of letters and digits as no word has it.
Hexadecimal digests after `sha256:` and commit hashes are not secrets: a commit is 40 digits, and named as such.
"""

from __future__ import annotations

import re

_PREFIXED = re.compile(
    r"sk-dyno-[A-Za-z0-9_\-]+"  # our own, whatever it is glued to
    r"|(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_\-]{8,}"
    r"|(?:hf|fw|gsk|xai|r8|ghp|gho|ghs|glpat|github_pat|pplx|nvapi|tgp)[_-][A-Za-z0-9_\-]{16,}"
    r"|AIza[A-Za-z0-9_\-]{30,}|AKIA[A-Z0-9]{16}|ya29\.[A-Za-z0-9_\-]{20,}|xox[abprs]-[A-Za-z0-9\-]{10,}"
    r"|eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}(?:\.[A-Za-z0-9_\-]+)?"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r")"
)
_LONG = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{24,}(?![A-Za-z0-9])")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_PUBLIC_HEX = re.compile(r"(?:\bsha\d+[:-]|\bcommit\W+|@)$")
BLOT = "•••"


def _is_random(word: str) -> bool:
    """Mixed case with digits scattered in at least three places; or hexadecimal of at least 32 digits."""
    if _HEX.fullmatch(word):
        return len(word) >= 32 and bool(re.search(r"\d", word)) and bool(re.search(r"[a-fA-F]", word))
    scattered = len(re.findall(r"\d+", word)) >= 3
    return scattered and bool(re.search(r"[a-z]", word)) and bool(re.search(r"[A-Z]", word))


def find_issued(text: str) -> tuple[str, ...]:
    """Every piece of the text that has the prefix of a well-known issuer: all that can be told of an id, for ids are
    as random as secrets."""
    return tuple(match.group() for match in _PREFIXED.finditer(text))


def find_secrets(text: str) -> tuple[str, ...]:
    """Every piece of the text that looks like a secret, in order of appearance in each of the two ways."""
    return tuple(match.group() for match in _matches(text))


def redact(text: str) -> str:
    """The text with everything blotted out that looks like a secret."""
    kept, end = [], 0
    for start, stop in sorted(match.span() for match in _matches(text)):
        if start >= end:
            kept += [text[end:start], BLOT]
        end = max(end, stop)
    return "".join(kept) + text[end:]


def _matches(text: str) -> list[re.Match[str]]:
    random = (
        match
        for match in _LONG.finditer(text)
        if _is_random(match.group()) and not _PUBLIC_HEX.search(text, 0, match.start())
    )
    return [*_PREFIXED.finditer(text), *random]
