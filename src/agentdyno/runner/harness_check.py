"""Taking harnesses through a stand of their own, each on a scripted task of two turns.

A harness is verified when its tool did the work, and when what the stand recorded is what the provider counted: the
same requests, the same tokens. Nothing here knows a harness: what differs is in its profile.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from secrets import token_bytes
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agentdyno.core.config import Config
from agentdyno.core.errors import UserError
from agentdyno.core.records import HarnessProfile, Request, Variant
from agentdyno.core.secrets import redact
from agentdyno.core.side_calls import is_inference
from agentdyno.interruption import held_interruptions
from agentdyno.reporting.harnesses import HarnessReport, Listed, Refused
from agentdyno.sessions.environment import program_of
from agentdyno.sessions.launching import Ended, Launch, start_session
from agentdyno.sessions.opening import Context, Wanted
from agentdyno.sessions.project import first_configuration
from agentdyno.sessions.repository import new_repository
from agentdyno.stand.home import Home
from agentdyno.stand.inventory import read_harness
from agentdyno.stand.supervisor import Stand
from agentdyno.store.ledger import Ledger

LIMIT_S = 120.0
_PROVIDER, _TASK_CARD = "scripted", "write-hello"
_SMALL_MODEL, _REFUSED_MODEL = "hello", "unauthorized"
# What a program needs anywhere. All else of a person's environment, keys above all, is none of a check's business.
_KEPT_VARIABLES = frozenset({"LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"})
# Some harnesses wait long for hosts of their own: here they learn at once that there are none.
_NOWHERE = "http://127.0.0.1:9"
_OFFLINE = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}
_OUTPUT, _LAST_WORDS_BYTES = "output.txt", 600
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


class Options(NamedTuple):
    """How harnesses are checked."""

    with_refusal: bool
    """Also run each with every call refused."""
    limit_s: float = LIMIT_S


class _Place(NamedTuple):
    """Where the checks happen."""

    context: Context
    folder: Path
    options: Options


def check_harnesses(
    profiles: Sequence[HarnessProfile],
    environ: Mapping[str, str],
    options: Options,
    clock_us: Callable[[], int],
    said: Callable[[str], None],
) -> Iterator[HarnessReport]:
    """A report of each profile, in order. The stand runs only if there is something to check, and ends at the end."""
    inner = {name: environ[name] for name in sorted(_KEPT_VARIABLES & environ.keys())}
    with contextlib.ExitStack() as stack:
        place: _Place | None = None
        for profile in profiles:
            obstacle = _obstacle(profile, inner)
            if obstacle is not None:
                yield obstacle
                continue
            if place is None:
                place = stack.enter_context(_place(profiles, inner, options, clock_us, said))
            said(f"running {profile.name}")
            try:
                yield _check(place, profile)
            except UserError as error:  # it could not be run: no reason to lose what was found of the others
                yield HarnessReport(profile.name, profile.surface, "differs", (error.message,))


def look_up(profiles: Sequence[HarnessProfile], environ: Mapping[str, str], cache: Path) -> list[Listed]:
    """Each profile with its program and version, as far as it is installed. Versions are asked for side by side."""

    def listed(profile: HarnessProfile) -> Listed:
        found = read_harness(program_of(profile), profile.version_command, environ, cache)
        return Listed(profile, found.path, found.version)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(listed, profiles))


def _obstacle(profile: HarnessProfile, environ: Mapping[str, str]) -> HarnessReport | None:
    """The report of a harness that cannot be run."""
    report = HarnessReport(profile.name, profile.surface, "deferred")
    if profile.deferred is not None:
        return replace(report, findings=(profile.deferred,))
    program = program_of(profile)
    if program is None or not profile.command:
        return replace(report, findings=("its profile has no headless command",))
    if shutil.which(program, path=environ.get("PATH")) is None:
        hint = f": {profile.install}" if profile.install else ""
        return replace(report, state="not installed", findings=(f"{program} is not on PATH{hint}",))
    return None


@contextlib.contextmanager
def _place(
    profiles: Sequence[HarnessProfile],
    environ: Mapping[str, str],
    options: Options,
    clock_us: Callable[[], int],
    said: Callable[[str], None],
) -> Iterator[_Place]:
    """A stand in a folder that is gone afterwards."""
    config = _configuration(profiles)
    with contextlib.ExitStack() as stack:
        # What a harness left running may still write there: no reason to lose what was found.
        temporary = tempfile.TemporaryDirectory(prefix="dyno-check-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        home = Home(folder / "home")
        home.folder.mkdir(mode=0o700)
        interruptions = stack.enter_context(held_interruptions())
        stand = stack.enter_context(Stand(home, config, "127.0.0.1", 0, environ, said, interruptions))
        ledger = stack.enter_context(contextlib.closing(Ledger.open(home.ledger)))
        yield _Place(
            Context(config, ledger, home, stand.state, environ, clock_us, token_bytes, interruptions), folder, options
        )


def _configuration(profiles: Sequence[HarnessProfile]) -> Config:
    """The scripted provider, a task card, and for each profile a variant that works and one whose calls are refused."""
    first = first_configuration()
    scripts = {profile.scripted_model for profile in profiles} | {_SMALL_MODEL, _REFUSED_MODEL}
    provider = first.provider(_PROVIDER)
    provider = replace(provider, models=tuple(sorted({*provider.models, *scripts})))
    variants = [
        Variant(_variant(profile, refused=refused), _PROVIDER, model, profile.name, small_model=small_model)
        for profile in profiles
        for refused, model, small_model in (
            (False, profile.scripted_model, _SMALL_MODEL),
            (True, _REFUSED_MODEL, _REFUSED_MODEL),
        )
    ]
    return replace(
        first,
        providers={_PROVIDER: provider},
        harness_profiles={profile.name: profile for profile in profiles},
        variants={variant.name: variant for variant in variants},
        task_cards={_TASK_CARD: first.task_card(_TASK_CARD)},
        experiments={},
    )


def _variant(profile: HarnessProfile, *, refused: bool) -> str:
    return f"{profile.name}-refused" if refused else profile.name


def _check(place: _Place, profile: HarnessProfile) -> HarnessReport:
    _forget_served(place)
    began_s = time.monotonic()
    ended = _run(place, profile, refused=False)
    wall_s = time.monotonic() - began_s
    rows = place.context.ledger.requests(ended.session.session_id)
    served = [entry for entry in _served(place) if entry["operation"] == "generate"]
    findings = tuple(_findings(ended, rows, served))
    return HarnessReport(
        profile.name,
        profile.surface,
        "differs" if findings else "verified",
        findings,
        program=ended.session.harness_binary,
        version=ended.session.harness_version,
        exit_code=ended.exit_code,
        wall_s=wall_s,
        requests=sum(is_inference(row.purpose) for row in rows),
        served=len(served),
        side_calls=Counter(row.purpose for row in rows if row.purpose != "work"),
        models=tuple(sorted({row.model_requested for row in rows if row.model_requested is not None})),
        harness_ids=tuple(sorted({name for row in rows for name in json.loads(row.harness_ids)})),
        refused=_check_refused(place, profile) if place.options.with_refusal else None,
        last_words=_last_words(place, profile) if findings else None,
    )


def _last_words(place: _Place, profile: HarnessProfile) -> str | None:
    """The end of what a harness printed, for whoever looks for the reason."""
    printed = (place.folder / _variant(profile, refused=False) / _OUTPUT).read_bytes()[-_LAST_WORDS_BYTES:]
    return redact(printed.decode(errors="replace").strip()) or None


def _check_refused(place: _Place, profile: HarnessProfile) -> Refused:
    ended = _run(place, profile, refused=True)
    rows = place.context.ledger.requests(ended.session.session_id)
    return Refused(None if ended.timed_out else ended.exit_code, sum(is_inference(row.purpose) for row in rows))


def _run(place: _Place, profile: HarnessProfile, *, refused: bool) -> Ended:
    """One session, in a repository and a HOME of its own."""
    variant = _variant(profile, refused=refused)
    work, user_home = place.folder / variant / "work", place.folder / variant / "home"
    user_home.mkdir(parents=True)
    new_repository(work)
    environ = {**place.context.environ, **_OFFLINE, "HOME": str(user_home)}
    with (place.folder / variant / _OUTPUT).open("wb") as output:
        return start_session(
            place.context._replace(environ=environ),
            Wanted(variant, _TASK_CARD, label="harness check", repo=work),
            (),
            Launch(work, output, own_group=True, limit_s=place.options.limit_s),
        )


def _findings(ended: Ended, rows: Sequence[Request], served: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What speaks against a harness, worst first."""
    inference = [row for row in rows if is_inference(row.purpose)]
    session = ended.session
    if not any(row.status == "ok" and row.purpose == "work" for row in inference):
        yield "none of its requests succeeded" if inference else "no request to a model came through the gateway"
    if ended.timed_out:
        yield "it did not end in time"
    elif ended.exit_code:
        yield f"it ended with exit code {ended.exit_code}"
    if session.checks_passed != session.checks_total:
        yield "its tool did not write the file"
    for (status, code), count in sorted(Counter((r.status, r.error_code or "") for r in inference).items()):
        if status != "ok":
            yield f"{count} × {status} {code}".rstrip()
    if len(inference) != len(served):
        yield f"{len(inference)} rows, but the provider counted {len(served)} requests"
    elif not _same(inference, served):
        yield "its rows and what the provider counted differ in tokens or request ids"


def _same(rows: Sequence[Request], served: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows say what the provider counted, request by request. What a surface does not tell, it counted as 0.

    The provider's id of a document of Gemini's does not reach the gateway: such rows are told apart by tokens alone.
    """
    counted = {entry["request_id"]: tuple(entry[name] for name in _TOKENS) for entry in served}
    without_id: Counter[tuple[int, ...]] = Counter()
    for row in rows:
        told = tuple(0 if (tokens := getattr(row, name)) is None else tokens for name in _TOKENS)
        if row.provider_request_id is None:
            without_id[told] += 1
        elif counted.pop(row.provider_request_id, None) != told:
            return False
    return without_id == Counter(counted.values())


def _served(place: _Place) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(_ask_provider(place, "GET"))["requests"]
    return answer


def _forget_served(place: _Place) -> None:
    _ask_provider(place, "DELETE")


def _ask_provider(place: _Place, method: str) -> bytes:
    address = urlsplit(place.context.require_stand().providers[_PROVIDER])
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)) as connection:
        connection.request(method, "/served")
        return connection.getresponse().read()
