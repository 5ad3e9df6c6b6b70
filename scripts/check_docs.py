"""Checks what the documentation claims: links, quoted commands, make targets, dependencies, generated pages.

Every fault is printed as `file:line: message`; the exit code is 1 if there is one.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer

ROOT = Path(__file__).resolve().parent.parent
# Inline links and images; addresses and anchors of the same page are left out below.
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_INLINE_CODE = re.compile(r"`([^`\n]+)`")
_DYNO = re.compile(r"(?:^|[\s(\"])dyno(?= )")
_MAKE = re.compile(r"(?:^|\s)make ([a-z][a-z-]*)")
_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENDS_OF_COMMAND = frozenset({"--", "|", "||", "&&", ";", "&", ">", "2>", "#"})


class Quote(NamedTuple):
    """A piece of code in a page."""

    page: Path
    line: int
    code: str

    def fault(self, message: str) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {message}"


def pages() -> list[Path]:
    """Every Markdown page that git would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in sorted(listed.splitlines()) if (ROOT / name).exists()]


def quotes(page: Path) -> Iterator[Quote]:
    """The lines of a page's code blocks, continued ones joined, and its inline code."""
    fenced, continued = False, ""
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced, continued = not fenced, ""
        elif fenced and line.endswith("\\"):
            continued += line[:-1] + " "
        elif fenced:
            yield Quote(page, number, (continued + line).strip().removeprefix("$ "))
            continued = ""
        else:
            yield from (Quote(page, number, match[1]) for match in _INLINE_CODE.finditer(line))


def link_faults(page: Path) -> Iterator[str]:
    """Relative links that lead nowhere."""
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        for target in _LINK.findall(line):
            path = target.partition("#")[0]
            if "://" in target or target.startswith("mailto:") or not path:
                continue
            if not (page.parent / path).exists():
                yield Quote(page, number, line).fault(f"links to {path}, which does not exist")


def words_of_commands(code: str) -> Iterator[list[str]]:
    """The words after each `dyno` in a line of code, without placeholders' brackets, up to the command's end."""
    for match in _DYNO.finditer(code):
        rest = code[match.end() :].partition(')"')[0].replace("[", " ").replace("]", " ").replace("…", " ")
        try:
            words = shlex.split(rest)
        except ValueError:
            words = rest.split()
        yield words[: next((i for i, word in enumerate(words) if word in _ENDS_OF_COMMAND), len(words))]


def command_faults(app: Any, words: list[str], path: str = "dyno") -> Iterator[str]:
    """Names of commands and options that a Typer command does not have. `a|b` quotes each of them."""
    commands = getattr(app, "commands", None)  # only groups have them
    options = {name for parameter in app.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for position, word in enumerate(words):
        if word.startswith("-"):
            name = word.partition("=")[0]
            if name not in {*options, "--help"}:
                yield f"quotes `{path} {name}`, which does not exist"
        elif commands is not None:
            for name in word.split("|"):
                if name not in commands:
                    yield f"quotes `{path} {name}`, which does not exist"
                else:
                    yield from command_faults(commands[name], words[position + 1 :], f"{path} {name}")
            return


def quoted_command_faults(found: Iterable[Quote]) -> Iterator[str]:
    """Quoted `dyno` command lines that the real application would not understand."""
    try:
        from agentdyno.cli.main import build_app
    except ImportError as error:
        yield f"docs: the quoted dyno commands cannot be checked: {error}"
        return
    root = typer.main.get_command(build_app())
    for quote in found:
        for words in words_of_commands(quote.code):
            yield from map(quote.fault, command_faults(root, words))


def make_faults(found: Iterable[Quote]) -> Iterator[str]:
    """Quoted `make` targets that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for quote in found:
        for target in _MAKE.findall(quote.code):
            if target not in targets:
                yield quote.fault(f"quotes `make {target}`, which does not exist")


def direct_dependencies() -> set[str]:
    """The names that pyproject.toml and requirements/ ask for by themselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for group in (*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()):
        asked += group
    for source in sorted((ROOT / "requirements").glob("*.in")):
        asked += [line for line in source.read_text().splitlines() if line and not line.startswith("#")]
    package = json.loads((ROOT / "requirements/harnesses-npm/package.json").read_text())
    named = {*package["dependencies"], *package["optionalDependencies"]}
    return named | {match[0] for match in map(_REQUIREMENT_NAME.match, asked) if match}


def dependency_faults() -> Iterator[str]:
    """Direct dependencies without a reason in docs/dependencies.md, and reasons for what is none."""
    reasons = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE))
    dependencies = direct_dependencies()
    for name in sorted(dependencies - reasons):
        yield f"docs/dependencies.md: says nothing of {name}"
    for name in sorted(reasons - dependencies):
        yield f"docs/dependencies.md: gives a reason for {name}, which is no direct dependency"


def generated_faults() -> Iterator[str]:
    """Generated pages that are out of date."""
    command = [sys.executable, str(ROOT / "scripts/generate_schema_doc.py"), "--check"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        yield (result.stderr.strip().splitlines() or ["docs/schema.md cannot be generated"])[-1]


def main() -> int:
    written = pages()
    found = [quote for page in written for quote in quotes(page)]
    faults = [fault for page in written for fault in link_faults(page)]
    faults += [*quoted_command_faults(found), *make_faults(found), *dependency_faults(), *generated_faults()]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
