"""The stand itself, as it is recorded with every session: versions, machine, accelerators."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil

from agentdyno import __version__

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
    litellm_version: str
    price_table_version: str


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


def read_harness(program: str | None, version_command: Sequence[str], environ: Mapping[str, str]) -> HarnessBinary:
    """The harness's resolved program, and the first line that its version command prints."""
    path = shutil.which(program, path=environ.get("PATH")) if program else None
    asked = shutil.which(version_command[0], path=environ.get("PATH")) if version_command else None
    if asked is None:
        return HarnessBinary(path, None)
    modified_ns = Path(asked).stat().st_mtime_ns
    return HarnessBinary(path, _version(asked, modified_ns, tuple(version_command[1:]), environ.get("PATH")))


@functools.lru_cache(maxsize=256)
def _version(program: str, modified_ns: int, arguments: tuple[str, ...], path: str | None) -> str | None:
    """What a program prints of its version. Asking may take a second: a program that did not change is asked once."""
    printed = _output_of((program, *arguments), {**os.environ, **({"PATH": path} if path else {})})
    return printed.splitlines()[0][:200] if printed else None


def _output_of(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=dict(environ),
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or done.stderr.strip() or None if done.returncode == 0 else None
