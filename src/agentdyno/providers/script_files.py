"""Scripts out of YAML files, all faults at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from agentdyno.core.config.decode import decode
from agentdyno.core.config.documents import Document, parse
from agentdyno.core.config.documents import Path as FieldPath
from agentdyno.core.errors import ConfigFaults, Fault, UserError
from agentdyno.providers.script import Cut, Failure, Latency, Script, ScriptedUsage, ToolUse, Turn

BUILT_IN = Path(__file__).parent / "scripts"


def load_scripts(folders: Sequence[Path]) -> dict[str, Script]:
    """The scripts of all `*.yaml` files in these folders, by name.

    Raises UserError for a folder that is not there and ConfigFaults with every fault of every file.
    """
    scripts: dict[str, Script] = {}
    faults: list[Fault] = []
    for file in _script_files(folders):
        try:
            # What is not UTF-8 reaches the parser as lone surrogates, which it reports.
            script = parse_script(str(file), file.read_bytes().decode("utf-8", errors="surrogateescape"))
        except ConfigFaults as error:
            faults.extend(error.faults)
            continue
        if script.name in scripts:
            faults.append(Fault(str(file), 0, "name", f'"{script.name}" is taken by another script'))
        scripts[script.name] = script
    if faults:
        raise ConfigFaults(faults)
    return scripts


def _script_files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder of scripts at {folder}", "name a folder that holds *.yaml files")
        yield from sorted(folder.glob("*.yaml"))


def parse_script(file: str, text: str) -> Script:
    """One script from YAML. Raises ConfigFaults that name `file`, line and field."""
    document, faults = parse(file, text)
    decoded = decode(Script, document, {}, faults)
    script = decoded.record
    faults += decoded.faults if script is None else _script_faults(document, script)
    if script is None or faults:
        raise ConfigFaults(faults)
    return script


def _script_faults(document: Document, script: Script) -> Iterator[Fault]:
    yield from _latency_faults(document, ("latency",), script.latency)
    yield from _turns_faults(document, ("turns",), script.turns)
    for index, case in enumerate(script.cases):
        if not case.asked:
            yield document.fault(("cases", index, "asked"), "is empty: it would fit every conversation")
        yield from _turns_faults(document, ("cases", index, "turns"), case.turns)


def _turns_faults(document: Document, path: FieldPath, turns: Sequence[Turn]) -> Iterator[Fault]:
    if not turns:
        yield document.fault(path, "needs at least one turn")
    for index, turn in enumerate(turns):
        yield from _turn_faults(document, (*path, index), turn)


def _turn_faults(document: Document, path: FieldPath, turn: Turn) -> Iterator[Fault]:
    if (turn.text is None and turn.tool is None) != _fails_wholly(turn.error):
        yield document.fault(path, "needs a text, a tool or both, or else an error without times and after_pieces")
    if turn.error is not None and turn.cut is not None:
        yield document.fault((*path, "cut"), "cannot stand beside an error")
    if turn.tool is not None:
        yield from _tool_faults(document, (*path, "tool"), turn.tool)
    if turn.error is not None:
        yield from _failure_faults(document, (*path, "error"), turn.error)
        yield from _encounter_faults(document, (*path, "error"), turn.error)
    if turn.cut is not None:
        yield from _encounter_faults(document, (*path, "cut"), turn.cut)
    if turn.latency is not None:
        yield from _latency_faults(document, (*path, "latency"), turn.latency)
    yield from _usage_faults(document, (*path, "usage"), turn.usage)


def _fails_wholly(error: Failure | None) -> bool:
    """Whether the error is all that ever comes."""
    return error is not None and error.times is None and error.after_pieces is None


def _tool_faults(document: Document, path: FieldPath, tool: ToolUse) -> Iterator[Fault]:
    if (tool.write_file is None) == (tool.shell is None):
        yield document.fault(path, "needs either write_file or shell")


def _failure_faults(document: Document, path: FieldPath, failure: Failure) -> Iterator[Fault]:
    if not 400 <= failure.status <= 599:
        yield document.fault((*path, "status"), f"expected an HTTP error from 400 to 599, found {failure.status}")
    if failure.retry_after_s is not None and failure.retry_after_s < 0:
        yield document.fault((*path, "retry_after_s"), "is below zero")


def _encounter_faults(document: Document, path: FieldPath, fault: Failure | Cut) -> Iterator[Fault]:
    if fault.after_pieces is not None and fault.after_pieces < 0:
        yield document.fault((*path, "after_pieces"), "is below zero")
    if fault.times is not None and fault.times < 1:
        yield document.fault((*path, "times"), "is below one")


def _latency_faults(document: Document, path: FieldPath, latency: Latency) -> Iterator[Fault]:
    for name in ("first_token_ms", "per_token_ms", "jitter"):
        if getattr(latency, name) < 0:
            yield document.fault((*path, name), "is below zero")
    if latency.jitter > 1:
        yield document.fault((*path, "jitter"), "is above one: delays would be below zero")


def _usage_faults(document: Document, path: FieldPath, usage: ScriptedUsage) -> Iterator[Fault]:
    """Parts need their whole to be given, for nobody knows beforehand what will be counted."""
    for name in ("input", "output", "cache_read", "cache_write", "reasoning"):
        tokens = getattr(usage, name)
        if tokens is not None and tokens < 0:
            yield document.fault((*path, name), "is below zero")
    for name, whole, parts in (
        ("input", usage.input, usage.cache_read + usage.cache_write),
        ("output", usage.output, usage.reasoning),
    ):
        if parts > 0 and (whole is None or whole < parts):
            yield document.fault((*path, name), f"must be at least {parts}, the sum of its parts")
