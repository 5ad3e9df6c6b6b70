"""A LiteLLM deployment with virtual keys and a database, over its public HTTP interface.

    POST /key/generate    a virtual key: alias, metadata, duration, models
    POST /key/delete      by the key's hash, or by its alias
    GET  /spend/logs/v2   what was logged of a key, page by page, without prompts and answers
    GET  /spend/logs      the same at once, with whatever texts are kept: of a deployment without the former

The admin key goes into one header and nowhere else: no message, log or trace quotes it, nor what the deployment says of
a key that it refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from agentdyno.core.dialects.reading import UNREADABLE, decode
from agentdyno.core.errors import DeploymentFault, DeploymentUnreachable, UserError
from agentdyno.core.ids import key_hash
from agentdyno.core.secrets import redact

T = TypeVar("T")

_TIMEOUT_S = 15.0
_PAGE: Final = 100
"""Logs a page: the most that every version gives."""
_ALL_TIMES: Final = {"start_date": "2000-01-01 00:00:00", "end_date": "2999-12-31 00:00:00"}
"""A page must be asked of some time. The key alone says which logs are meant."""
_IS_IT_ONE = "is base_url the address of a LiteLLM proxy?"
_NOBODYS_HASH = "0" * 64
_WORDS = 200
_HEADER_VALUE = re.compile(r"[!-~]+")
_WITHOUT_DATABASE = re.compile(
    r"(?:db|database) not connected|not? connected (?:to )?db|prisma client is not initialized|proxy to database",
    re.IGNORECASE,
)
"""LiteLLM says it in other words on every path, with 400, 401 or 500."""
_LATER: Final = (429, 502, 503, 504)


class _Answer(NamedTuple):
    status: int
    content: bytes


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]


class _Generated(msgspec.Struct):
    key: str
    token: str | None = None
    """The hash under which the deployment knows it."""


class _Error(msgspec.Struct):
    message: Any = None


class _Refusal(msgspec.Struct):
    error: _Error | None = None
    detail: Any = None


_pages = msgspec.json.Decoder(_Page)
_logs = msgspec.json.Decoder(list[msgspec.Raw])
_generated = msgspec.json.Decoder(_Generated)
_refusals = msgspec.json.Decoder(_Refusal)


class Deployment:
    """A deployment that a provider names, with the right to issue keys there and to read what was logged of them.

    Every method raises DeploymentUnreachable where it does not answer now, and DeploymentFault where it refuses.
    """

    def __init__(self, provider: str, base_url: str, key_env: str, environ: Mapping[str, str]) -> None:
        """Takes the admin key from the environment. Raises UserError where there is none that could be one."""
        self.provider = provider
        self.base_url = base_url.rstrip("/")
        self._key_env = key_env
        admin_key = environ.get(key_env, "").strip()
        if not admin_key:
            raise UserError(
                f"provider {provider} is a LiteLLM deployment, and {key_env} is not set",
                "set it to the deployment's master key, or a proxy admin's",
            )
        if not _HEADER_VALUE.fullmatch(admin_key):
            raise UserError(f"what {key_env} holds is no key", "expected letters, digits and signs, without blanks")
        self._admin_key = admin_key

    def __str__(self) -> str:
        return f"LiteLLM deployment {self.provider} at {self.base_url}"

    def check(self) -> None:
        """Make sure, changing nothing, that it answers, takes the admin key, and has a database of logs."""
        for _ in self.spend_logs(_NOBODYS_HASH):
            return

    def generate_key(self, alias: str, duration_s: int, models: Sequence[str], metadata: Mapping[str, str]) -> str:
        """A new virtual key for these models, which ends by itself. It has no budget, and is for inference alone."""
        body = {
            "key_alias": alias,
            "duration": f"{duration_s}s",
            "models": list(models),
            "metadata": dict(metadata),
            "key_type": "llm_api",
        }
        generated = self._read(_generated, "/key/generate", self._ask("POST", "/key/generate", body=body))
        if generated.token is not None and generated.token not in (generated.key, key_hash(generated.key)):
            self._delete({"key_aliases": [alias]})
            raise DeploymentFault(
                f"{self} keeps keys under another hash than SHA-256", "its logs could not be told apart"
            )
        return generated.key

    def delete_keys(self, key_hashes: Sequence[str], alias: str) -> None:
        """Let keys end at once: those with the hashes, and whichever has the alias. Those that are gone stay gone."""
        if key_hashes:
            self._delete({"keys": list(key_hashes)})
        self._delete({"key_aliases": [alias]})

    def spend_logs(self, hashed_key: str) -> Iterator[bytes]:
        """What was logged of the key with that hash, each log as its JSON, oldest first."""
        page = 1
        while True:
            query: dict[str, str | int] = {
                "api_key": hashed_key,
                **_ALL_TIMES,
                "page": page,
                "page_size": _PAGE,
                "sort_order": "asc",
            }
            answer = self._ask("GET", "/spend/logs/v2", query=query)
            if answer.status == 404 and page == 1:
                yield from self._spend_logs_at_once(hashed_key)
                return
            logs = self._read(_pages, "/spend/logs/v2", answer).data
            yield from map(bytes, logs)
            if len(logs) < _PAGE:
                return
            page += 1

    def _spend_logs_at_once(self, hashed_key: str) -> Iterator[bytes]:
        answer = self._ask("GET", "/spend/logs", query={"api_key": hashed_key})
        newest_first = self._read(_logs, "/spend/logs", answer)
        yield from map(bytes, reversed(newest_first))

    def _delete(self, which: Mapping[str, Sequence[str]]) -> None:
        answer = self._ask("POST", "/key/delete", body=which)
        if answer.status != 404:  # that there is none is what was wanted
            self._require_ok("/key/delete", answer)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> _Answer:
        import httpx  # a tenth of a second to load, which is nobody's who has no deployment

        headers = {"authorization": f"Bearer {self._admin_key}"}
        try:
            response = httpx.request(
                method, self.base_url + path, params=query, json=body, headers=headers, timeout=_TIMEOUT_S
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not chained, and of its words only those of the socket: a protocol's error may quote what was sent.
            words = str(error) if isinstance(error, httpx.ConnectError) else type(error).__name__
            raise DeploymentUnreachable(
                f"{self} cannot be reached: {redact(words) or type(error).__name__}", "see that it runs"
            ) from None
        return _Answer(response.status_code, response.content)

    def _read(self, decoder: msgspec.json.Decoder[T], path: str, answer: _Answer) -> T:
        self._require_ok(path, answer)
        try:
            return decode(answer.content, decoder)
        except UNREADABLE:
            # Not chained: a decoder may quote what it could not read.
            raise DeploymentFault(f"{self} answers on {path} what no LiteLLM does", _IS_IT_ONE) from None

    def _require_ok(self, path: str, answer: _Answer) -> None:
        status, words = answer.status, _words(answer.content)
        if 200 <= status < 300:
            return
        if _WITHOUT_DATABASE.search(words):
            what = f"{self} has no database (HTTP {status} on {path})"
            raise DeploymentFault(what, "virtual keys and spend logs need one: set its DATABASE_URL")
        if status in _LATER:
            raise DeploymentUnreachable(f"{self} answers HTTP {status} on {path}: {words}", "try again")
        if status in (401, 403):
            what = f"{self} refuses the key in {self._key_env} (HTTP {status} on {path})"
            raise DeploymentFault(what, "it must be the master key, or a proxy admin's")
        raise DeploymentFault(f"{self} answers HTTP {status} on {path}: {words}", _IS_IT_ONE if status == 404 else None)


def _words(answer: bytes) -> str:
    """What an error's document says, in one line and without anything like a key."""
    try:
        refusal = decode(answer, _refusals)
    except UNREADABLE:
        return "no words of LiteLLM's"
    said = refusal.error.message if refusal.error is not None else refusal.detail
    line = " ".join(str(said).split())
    return redact(line if line.isprintable() else ascii(line))[:_WORDS]
