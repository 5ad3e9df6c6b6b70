"""Everything that a first run needs, checked without changing anything: what was found, and how to mend it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.config import Config, entity_digest, secrets_of
from agentdyno.core.errors import ConfigFaults, DynoError, UserError
from agentdyno.core.records import HarnessProfile, Provider, Variant
from agentdyno.sessions.deployments import deployment_at
from agentdyno.sessions.environment import program_of
from agentdyno.sessions.lookup import home_path, nearest_project
from agentdyno.sessions.project import load_project
from agentdyno.sessions.repository import read_repository, storable
from agentdyno.sessions.sandboxes.bubblewrap import why_not
from agentdyno.stand.home import Home
from agentdyno.stand.installation import (
    Finding,
    clock_finding,
    git_finding,
    litellm_finding,
    local_model_finding,
    proxy_findings,
    python_finding,
)
from agentdyno.stand.inventory import HarnessBinary, read_harness
from agentdyno.stand.listening import listen
from agentdyno.stand.state import StandState, running_stand
from agentdyno.store.address import named_ledger
from agentdyno.store.glance import schema_revision
from agentdyno.store.migrate import HEAD

_VERSION_TIMEOUT_S = 10.0
_SCARCE_BYTES, _TOO_FEW_BYTES = 1024**3, 64 * 1024**2
_GIB = 1024**3
_OTHERS_MAY = 0o077


class _Loaded(NamedTuple):
    finding: Finding
    config: Config | None = None


class _Question(NamedTuple):
    program: str | None
    version_command: tuple[str, ...]


def examine(
    start: Path, environ: Mapping[str, str], now_s: float, version_timeout_s: float = _VERSION_TIMEOUT_S
) -> Iterator[Finding]:
    """What there is to say of the installation, and of the project and home that a command called here would use."""
    home_folder = home_path(start, environ)
    home = None if home_folder is None else Home(home_folder)
    yield python_finding()
    yield litellm_finding()
    git = git_finding(environ)
    yield git
    yield _sandbox_finding(environ)
    if git.state == "ok":
        yield _repository_finding(start)
    yield _checked("clock", lambda: clock_finding(now_s, None if home is None else home.ledger_file))
    if home is not None:
        yield _checked("home", lambda: _home_finding(home.folder))
        yield _checked("ledger", lambda: _ledger_finding(home, environ))
    loaded = _load(start)
    yield loaded.finding
    if loaded.config is None or home is None:
        return
    stand = _stand_of(home)
    yield _gateway_finding(loaded.config, stand)
    yield from proxy_findings(environ, loaded.config.settings.gateway.host)
    yield from _provider_findings(loaded.config, environ, stand)
    yield from _harness_findings(loaded.config, environ, home, version_timeout_s)


def _checked(name: str, check: Callable[[], Finding]) -> Finding:
    """What a check finds; a fault where it cannot be made."""
    try:
        return check()
    except DynoError as error:
        return Finding(name, "fault", error.message, error.hint or "check that it is there, and may be used")
    except OSError as error:
        return Finding(name, "fault", str(error), "check that it is there, and may be used")


def _stand_of(home: Home) -> StandState | None:
    try:
        return running_stand(home)
    except OSError:  # of the home itself that was said already
        return None


def _load(start: Path) -> _Loaded:
    project = nearest_project(start)
    if project is None:
        what = f"no dyno.yaml in {start} or above"
        return _Loaded(Finding("project", "fault", what, "`dyno init` writes one, with examples"))
    try:
        config = load_project(project)
    except ConfigFaults as faults:
        what = f"{project}, faults: {len(faults.faults)}"
        return _Loaded(Finding("project", "fault", what, "`dyno config validate` shows all"))
    except UserError as error:
        return _Loaded(Finding("project", "fault", error.message, error.hint))
    what = f"{project}, variants: {len(config.variants)}, task cards: {len(config.task_cards)}"
    if not config.variants:
        return _Loaded(Finding("project", "warning", what, "write one below configs/variants"), config)
    return _Loaded(Finding("project", "ok", what), config)


def _repository_finding(start: Path) -> Finding:
    try:
        repository = read_repository(start)
    except UserError as error:
        return Finding("repository", "warning", error.message, error.hint)
    return Finding("repository", "ok", f"{storable(repository.root)}")


def _sandbox_finding(environ: Mapping[str, str]) -> Finding:
    if sys.platform != "linux":
        return Finding("sandbox", "warning", "none: headless cells need Linux", "run them on a machine that has it")
    reason = why_not(environ.get("PATH"))
    if reason is None:
        return Finding("sandbox", "ok", "bubblewrap: the gateway is all that a headless cell reaches")
    what = f"process, which has no walls: {reason}"
    return Finding("sandbox", "warning", what, "install bubblewrap, or allow it namespaces of its own")


def _home_finding(home: Path) -> Finding:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    elsewhere = "name another home by DYNO_HOME"
    if not there.is_dir():
        return Finding("home", "fault", f"{home}: {there} is no folder", elsewhere)
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("home", "fault", f"{home}: {there} cannot be written", elsewhere)
    free_bytes = shutil.disk_usage(there).free
    found = f"{home}, {free_bytes / _GIB:,.1f} GiB free"
    if free_bytes < _SCARCE_BYTES:
        return Finding(
            "home", "fault" if free_bytes < _TOO_FEW_BYTES else "warning", found, f"make room, or {elsewhere}"
        )
    if there == home and home.stat().st_mode & _OTHERS_MAY:
        return Finding("home", "warning", f"{found}, open to others", f"chmod go= {home}")
    return Finding("home", "ok", found)


def _ledger_finding(home: Home, environ: Mapping[str, str]) -> Finding:
    address = named_ledger(environ) or home.ledger
    revision = None if isinstance(address, Path) and not address.exists() else schema_revision(address)
    if revision is None:
        return Finding("ledger", "ok", f"{address}, made when it is first used")
    if revision > HEAD:
        return Finding("ledger", "fault", f"{address} at schema {revision}, newer than {HEAD}", "upgrade agentdyno")
    later = "" if revision == HEAD else f", brought to {HEAD} when it is next used"
    return Finding("ledger", "ok", f"{address} at schema {revision}{later}")


def _gateway_finding(config: Config, stand: StandState | None) -> Finding:
    if stand is not None:
        return Finding("gateway", "ok", f"the stand is up at {stand.gateway_url}, process {stand.pid}")
    gateway = config.settings.gateway
    try:
        listen(gateway.host, gateway.port).close()
    except UserError as error:
        return Finding("gateway", "fault", error.message, error.hint)
    return Finding("gateway", "ok", f"not up; {gateway.host}:{gateway.port} is free")


def _provider_findings(config: Config, environ: Mapping[str, str], stand: StandState | None) -> Iterator[Finding]:
    """Of each provider that a variant uses: whether it can be served, or is, or serves by itself."""
    users = _variants_by(config, lambda variant: variant.provider)
    for provider in (config.provider(name) for name in users):
        if provider.deployment_key_env is not None:
            finding = _deployment_finding(provider, environ)
        else:
            finding = _unserved(provider, environ) if stand is None else _served(provider, stand)
        if finding.state != "ok":
            finding = finding._replace(found=f"{finding.found}; used by {users[provider.name]}")
        yield finding
        if provider.managed == "local":
            yield local_model_finding()


def _deployment_finding(provider: Provider, environ: Mapping[str, str]) -> Finding:
    """Whether a LiteLLM deployment answers, takes the admin key, and has logs. Nothing is changed there."""
    name = f"provider {provider.name}"
    try:
        deployment = deployment_at(provider, environ)
        if deployment is not None:
            deployment.check()
    except DynoError as error:
        return Finding(name, "warning", error.message, error.hint)
    return Finding(name, "ok", f"a LiteLLM deployment: it answers, and takes the key in {provider.deployment_key_env}")


def _unserved(provider: Provider, environ: Mapping[str, str]) -> Finding:
    name, secrets = f"provider {provider.name}", secrets_of(provider)
    unset = [secret for secret in secrets if not environ.get(secret)]
    if unset:
        what = f"{', '.join(unset)} not set"
        return Finding(name, "warning", what, "set it in the environment of `dyno up`")
    if provider.managed is not None:
        return Finding(name, "ok", "started by the stand")
    return Finding(name, "ok", f"{', '.join(secrets)} set" if secrets else "needs no secret")


def _served(provider: Provider, stand: StandState) -> Finding:
    name, again = f"provider {provider.name}", "`dyno down`, then `dyno up`"
    if provider.name in stand.missing_secrets:
        what = f"not served: {stand.missing_secrets[provider.name]} was not set when the stand came up"
        return Finding(name, "warning", what, f"set it, then {again}")
    if stand.served.get(provider.name) != entity_digest(provider):
        return Finding(name, "warning", "not as the stand knows it: it was changed since", again)
    return Finding(name, "ok", "served")


def _harness_findings(config: Config, environ: Mapping[str, str], home: Home, timeout_s: float) -> Iterator[Finding]:
    """Of each harness that a variant uses: where its program is, and its version. All are asked at once."""
    users = _variants_by(config, lambda variant: variant.harness_profile)
    profiles = [profile for profile in map(config.harness_profile, users) if program_of(profile) is not None]

    def ask(question: _Question) -> HarnessBinary:
        return read_harness(*question, environ, home.harness_versions, timeout_s)

    questions = {_Question(program_of(profile), profile.version_command) for profile in profiles}
    with ThreadPoolExecutor(len(questions) or 1) as pool:
        answers = dict(zip(questions, pool.map(ask, questions), strict=True))
        for profile in profiles:
            binary = answers[_Question(program_of(profile), profile.version_command)]
            yield _harness_finding(profile, binary, users[profile.name], timeout_s)


def _harness_finding(profile: HarnessProfile, binary: HarnessBinary, users: str, timeout_s: float) -> Finding:
    name = f"harness {profile.name}"
    if binary.path is None:
        what = f"{program_of(profile)} is not on the PATH; used by {users}"
        return Finding(name, "warning", what, profile.install or "install it, or put its folder on the PATH")
    if binary.version is None and profile.version_command:
        what = f"{binary.path} told no version in {timeout_s:g} s; used by {users}"
        return Finding(name, "warning", what, f"see what `{shlex.join(profile.version_command)}` says")
    return Finding(name, "ok", f"{binary.path}, {binary.version or 'version unknown'}")


def _variants_by(config: Config, used: Callable[[Variant], str]) -> dict[str, str]:
    """The variants that use each of something, as a text."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for variant in config.variants.values():
        found[used(variant)].append(variant.name)
    return {name: ", ".join(variants) for name, variants in sorted(found.items())}
