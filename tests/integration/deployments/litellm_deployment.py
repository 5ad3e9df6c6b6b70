"""A stand-in for a LiteLLM proxy with virtual keys and a database, by its public HTTP contract.

What it answers, accepts and refuses, with which words and status, is taken from LiteLLM 1.106's own code. Its models:

- `large`, `small`: answer, streamed or not; every answer has other figures than those before;
- `limited`: a provider that answers 429;
- `unpriced`: answers, and has no price.

Whenever a session's key is used, so is another's: a bystander, whose logs are nobody's here.
"""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tests.integration.deployments.canned_answers import document
from tests.integration.deployments.litellm_records import (
    Call,
    SpendLogs,
    VirtualKey,
    as_listed,
    as_model,
    hash_token,
    new_key,
    spend_log,
)

MODELS = ("large", "small", "limited", "unpriced")
BYSTANDER = "somebody-else"
_USD_PER_TOKEN = 0.000_002
CALL_TYPES = {"/v1/chat/completions": "acompletion", "/v1/messages": "anthropic_messages"}
_ADMIN_PATHS = ("/key/generate", "/key/delete", "/spend/logs", "/spend/logs/v2")
_LIMITED = "litellm.RateLimitError: RateLimitError: OpenAIException - slow down"


class Refused(Exception):
    """An error, in LiteLLM's shape."""

    def __init__(self, status: int, message: Any, kind: str, param: str | None = "None") -> None:
        super().__init__(status)
        self.status = status
        self.document = {"error": {"message": message, "type": kind, "param": param, "code": str(status)}}


class Caller(NamedTuple):
    """Who asks: the admin, or the holder of a virtual key."""

    key: VirtualKey | None

    @property
    def is_admin(self) -> bool:
        """Whether it has the master key."""
        return self.key is None


class LitellmDeployment:
    """The proxy's state, and its answers to whatever path it is asked."""

    def __init__(self, master_key: str, *, logs_after_s: float = 0.2) -> None:
        self.master_key = master_key
        self.logs = SpendLogs(logs_after_s)
        self.keys: dict[str, VirtualKey] = {}
        self.deleted: dict[str, VirtualKey] = {}
        self.generated: list[dict[str, Any]] = []
        """Bodies of what generated keys."""
        self.asked: list[str] = []
        """Paths, in the order in which they were asked for."""
        self.served: list[dict[str, Any]] = []
        """What it counted itself of every answer of a model, with the hash of the key that asked."""
        self.has_database = True
        self.has_pages = True
        """Whether there is `/spend/logs/v2`, which older versions lack."""
        self.heeds_filter = True
        """Whether logs are those of the key that was asked for."""
        self._bystander = hash_token("sk-bystander")
        self._lock = threading.Lock()

    # ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def caller(self, headers: dict[str, str], path: str) -> Caller:
        """The holder of the key that a request carries. Raises Refused as the proxy's authentication does."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        key = headers.get("x-api-key") or headers.get("x-goog-api-key") or bearer
        if not key:
            raise Refused(401, "Authentication Error, No api key passed in.", "auth_error")
        if key == self.master_key:
            return Caller(None)
        if not self.has_database:
            raise Refused(400, "No connected db.", "no_db_connection", None)
        if not key.startswith("sk-"):
            words = f"LiteLLM Virtual Key expected. Received={key[:4]}****{key[-4:]}, expected to start with 'sk-'."
            raise Refused(401, words, "auth_error")
        known = self.keys.get(hash_token(key))
        if known is None:
            words = (
                "Authentication Error, Invalid proxy server token passed. Received API Key = "
                f"sk-...{key[-4:]}, Key Hash (Token) ={hash_token(key)}. "
                "Unable to find token in cache or `LiteLLM_VerificationTokenTable`"
            )
            raise Refused(401, words, "token_not_found_in_db", "key")
        if known.expired:
            words = f"Authentication Error - Expired Key. Key Expiry time {known.expires} and current time {_now()}"
            raise Refused(401, words, "expired_key", f"sk-...{key[-4:]}")
        if path in _ADMIN_PATHS:
            self._refuse_route(known, path)
        return Caller(known)

    def _refuse_route(self, key: VirtualKey, path: str) -> None:
        if key.allowed_routes:
            words = (
                "Virtual key is not allowed to call this route. Only allowed to call routes: "
                f"{key.allowed_routes}. Tried to call route: {path}"
            )
            raise Refused(403, words, "auth_error")
        words = (
            "Authentication Error, Only proxy admin can be used to generate, delete, update info for new "
            f"keys/users/teams. Route={path}. Your role=unknown. Your user_id=unknown"
        )
        raise Refused(401, words, "auth_error")

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def generate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """`POST /key/generate`."""
        if not self.has_database:
            words = (
                "DB not connected. This endpoint needs a database; set DATABASE_URL to a PostgreSQL connection string"
            )
            raise Refused(500, {"error": words}, "internal_server_error")
        alias = asked.get("key_alias")
        if alias is not None and any(known.key_alias == alias for known in self.keys.values()):
            words = f"Key with alias '{alias}' already exists. Unique key aliases across all keys are required."
            raise Refused(400, words, "bad_request_error", "key_alias")
        key, row = new_key(asked)
        self.keys[row.token] = row
        self.generated.append(asked)
        return {
            **{name: asked.get(name) for name in ("duration", "max_budget", "user_id", "team_id", "key_type")},
            "key": key,
            "key_name": row.key_name,
            "key_alias": row.key_alias,
            "models": row.models,
            "metadata": row.metadata,
            "spend": 0.0,
            "allowed_routes": row.allowed_routes,
            "token_id": row.token,
            "token": row.token,
            "expires": None if row.expires is None else row.expires.isoformat(),
            "created_at": row.created_at.isoformat(),
        }

    def delete(self, asked: dict[str, Any]) -> dict[str, Any]:
        """`POST /key/delete`."""
        if not self.has_database:
            raise Refused(500, "Not connected to DB!", "internal_server_error")
        keys, aliases = asked.get("keys") or [], asked.get("key_aliases") or []
        wanted = {hash_token(key) if key.startswith("sk-") else key for key in keys}
        wanted |= {token for token, known in self.keys.items() if known.key_alias in aliases}
        found = wanted & self.keys.keys()
        if not found:
            raise Refused(404, {"error": "No keys found"}, "internal_server_error")
        for token in found:
            self.deleted[token] = self.keys.pop(token)
        return {"deleted_keys": keys or aliases}

    def info(self, query: dict[str, str]) -> dict[str, Any]:
        """`GET /key/info`."""
        key = query.get("key", "")
        token = hash_token(key) if key.startswith("sk-") else key
        known = self.keys.get(token) or self.deleted.get(token)
        if known is None:
            raise Refused(404, "Key not found in database", "not_found_error", "key")
        state = "deleted" if token in self.deleted else "expired" if known.expired else "active"
        return {"key": key, "info": {"key_alias": known.key_alias, "models": known.models, "status": state}}

    # ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def spend_logs(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """`GET /spend/logs`: newest first, ten thousand at most."""
        if not self.has_database:
            words = "/spend/logs ErrorDatabase not connected. Connect a database to your proxy"
            raise Refused(500, words, "internal_error")
        return [as_model(row) for row in self._sorted(query)[::-1][:10_000]]

    def spend_log_pages(self, query: dict[str, str]) -> dict[str, Any]:
        """`GET /spend/logs/v2`."""
        if not self.has_database:
            raise Refused(401, "Prisma Client is not initialized", "internal_error")
        if "start_date" not in query or "end_date" not in query:
            raise Refused(400, "Start date and end date are required", "bad_request")
        since, until = (_date(query[name]) for name in ("start_date", "end_date"))
        page, size = int(query.get("page", 1)), int(query.get("page_size", 50))
        rows = [row for row in self._sorted(query) if str(since) <= str(row["startTime"]) <= str(until)]
        if query.get("sort_order", "desc") == "desc":
            rows.reverse()
        return {
            "data": [as_listed(row) for row in rows[(page - 1) * size : page * size]],
            "total": len(rows),
            "page": page,
            "page_size": size,
            "total_pages": -(-len(rows) // size),
            "total_is_capped": False,
        }

    def _sorted(self, query: dict[str, str]) -> list[dict[str, Any]]:
        rows = self.logs.of(query.get("api_key") if self.heeds_filter else None)
        return sorted(rows, key=lambda row: str(row["startTime"]))

    # ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, path: str, headers: dict[str, str], asked: dict[str, Any]) -> dict[str, Any]:
        """The document that a model's answer is. What is refused is logged too, as far as its key is known."""
        began, model = _now(), str(asked.get("model"))
        said = json.dumps(asked.get("messages"))
        try:
            caller = self.caller(headers, path)
            self._require_model(caller, model)
        except Refused as refused:
            error = _error_information(refused, "ProxyException", said)
            self._log(path, _token(headers), "", model, "", began, None, said, error=error)
            raise
        token = self.master_key if caller.key is None else caller.key.token
        alias = None if caller.key is None else caller.key.key_alias
        with self._lock:
            number = len(self.served)
            if model == "limited":
                limited = Refused(429, _LIMITED, "throttling_error")
                error = _error_information(limited, "RateLimitError", said) | {"error_provider_request_id": "req_429"}
                self._log(path, token, alias, f"openai/{model}", model, began, None, said, error=error)
                raise limited
            usage = _usage(number)
            request_id = f"{'msg' if path == '/v1/messages' else 'chatcmpl'}-{number:04d}"
            self.served.append({"token": token, "model": model, "request_id": request_id, "usage": usage})
        first_piece = began + timedelta(milliseconds=5) if asked.get("stream") else None
        spend = 0.0 if model == "unpriced" else _USD_PER_TOKEN * usage["total_tokens"]
        facts = {"usage": usage, "spend": spend, "request_id": request_id}
        self._log(path, token, alias, f"vendor-{model}", model, began, first_piece, said, **facts)
        self._log(path, self._bystander, BYSTANDER, f"vendor-{model}", model, began, first_piece, said, usage=usage)
        return document(path, request_id, model, usage)

    def _require_model(self, caller: Caller, model: str) -> None:
        if caller.key is not None and caller.key.models and model not in caller.key.models:
            words = (
                f"The requested model '{model}' is not available for this API key, or the model name is invalid. "
                "Check the models available to you and try again."
            )
            raise Refused(403, words, "key_model_access_denied", "model")

    def _log(
        self,
        path: str,
        token: str,
        alias: str | None,
        model: str,
        model_group: str,
        began: datetime,
        first_piece: datetime | None,
        said: str,
        **more: Any,
    ) -> None:
        ended = began + timedelta(milliseconds=20)
        call_id = str(uuid.uuid4())
        call_type = "" if model_group == "" else CALL_TYPES[path]
        call = Call(
            *(call_type, token, alias, model, model_group, began, first_piece or ended, ended, said),
            **{"request_id": call_id, "call_id": call_id, **more},
        )
        self.logs.add(spend_log(call))


def _now() -> datetime:
    return datetime.now(UTC)


def _date(text: str) -> datetime:
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise Refused(400, f"Invalid date format: {text}. Expected: 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'", "bad_request")


def _token(headers: dict[str, str]) -> str:
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    return hash_token(key) if key.startswith("sk-") else key


def _usage(number: int) -> dict[str, Any]:
    """LiteLLM's own usage object: every answer has other figures."""
    prompt, completion = 40 + number, 9 + number
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 12, "audio_tokens": None, "cache_write_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": None},
    }


def _error_information(refused: Refused, error_class: str, said: str) -> dict[str, Any]:
    return {
        "error_code": str(refused.status),
        "error_class": error_class,
        "llm_provider": "",
        "traceback": f"Traceback (most recent call last): … {said}",
        "error_message": f"{refused.document['error']['message']} {said}",
    }
