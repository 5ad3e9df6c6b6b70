"""The stand itself, as it is recorded with every session: versions, machine, accelerators."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil

from agentdyno import __version__
from agentdyno.store.address import without_ledger

_VERSION_TIMEOUT_S = 20


class Machine(NamedTuple):
    """Hardware and operating system; None is unknown or absent."""

    os: str
    cpu: str | None
    cpu_cores: int | None
    memory_bytes: int
    gpu: str | None
    gpu_driver: str | None


class Versions(NamedTuple):
    """What the numbers were made with."""

    agentdyno_version: str
    litellm_version: str | None
    price_table_version: str | None


class HarnessBinary(NamedTuple):
    """The harness's program and what it says its version is."""

    path: str | None
    version: str | None


def read_versions() -> Versions:
    """Versions of the installed parts, read from their metadata: LiteLLM is not imported."""
    litellm = version("litellm")
    return Versions(__version__, litellm, f"litellm-{litellm}")


def read_machine() -> Machine:
    """Facts of this machine."""
    gpu, driver = _read_nvidia()
    return Machine(
        os=f"{_distribution()}, {platform.system()} {platform.release()}",
        cpu=_cpu_name(),
        cpu_cores=os.cpu_count(),
        memory_bytes=psutil.virtual_memory().total,
        gpu=gpu,
        gpu_driver=driver,
    )


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform(terse=True)


def _cpu_name() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _read_nvidia() -> tuple[str | None, str | None]:
    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    lines = (_output_of(query, os.environ) or "").splitlines()
    if not lines or "," not in lines[0]:
        return None, None
    names = "; ".join(line.rpartition(",")[0].strip() for line in lines)
    return names, lines[0].rpartition(",")[2].strip()


def read_harness(
    program: str | None,
    version_command: Sequence[str],
    environ: Mapping[str, str],
    cache: Path,
    timeout_s: float = _VERSION_TIMEOUT_S,
) -> HarnessBinary:
    """The harness's resolved program, and the first line that its version command prints in time.

    Asking may take seconds, so answers are kept in the file `cache` for as long as the program stays the same file.
    """
    path = shutil.which(program, path=environ.get("PATH")) if program else None
    asked = shutil.which(version_command[0], path=environ.get("PATH")) if version_command else None
    if asked is None:
        return HarnessBinary(path, None)
    command = (asked, *version_command[1:])
    key = _cache_key(command)
    known = {} if key is None else _read_cache(cache)
    if key not in known:
        answer = _version(command, environ, timeout_s)
        if key is None or answer is None:
            return HarnessBinary(path, answer)
        known[key] = answer
        _write_cache(cache, known)
    return HarnessBinary(path, known[key])


def _cache_key(command: Sequence[str]) -> str | None:
    """What an answer depends on. None for `sh -c …`, `python -m …` and the like: they may answer for another file."""
    program, *options = command
    if len(options) != 1 or not options[0].startswith("-"):
        return None
    file = Path(program).resolve()
    facts = file.stat()
    return f"{file} {facts.st_mtime_ns} {facts.st_size} {options[0]}"


def _read_cache(cache: Path) -> dict[str, str]:
    """Answers by key; none from a file that is missing or damaged."""
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict) or not all(isinstance(answer, str) for answer in known.values()):
        return {}
    return known


def _write_cache(cache: Path, known: Mapping[str, str]) -> None:
    """Replace the file in one step. Of two that write at once one is forgotten, and asked again."""
    with contextlib.suppress(OSError):
        handle, nascent = tempfile.mkstemp(dir=cache.parent, prefix=cache.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(dict(known), file, indent=1)
            Path(nascent).replace(cache)
        finally:
            Path(nascent).unlink(missing_ok=True)


def _version(command: Sequence[str], environ: Mapping[str, str], timeout_s: float) -> str | None:
    printed = _output_of(command, environ, timeout_s)
    return printed.splitlines()[0][:200] if printed else None


def _output_of(command: Sequence[str], environ: Mapping[str, str], timeout_s: float = _VERSION_TIMEOUT_S) -> str | None:
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=without_ledger(environ),
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or done.stderr.strip() or None if done.returncode == 0 else None
