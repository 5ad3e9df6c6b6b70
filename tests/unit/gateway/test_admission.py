"""Who may pass."""

from __future__ import annotations

import pytest
from tests.unit.gateway.credentials import EXPIRES_AT_US, KEY, Clock, Credentials, scope_of

from agentdyno.core.ids import key_hash
from agentdyno.gateway.admission import Admission, Refusal, presented_key, refuse_model
from agentdyno.store.ledger import CredentialScope


def refused(admitted: CredentialScope | Refusal) -> tuple[str, int]:
    assert isinstance(admitted, Refusal)
    return admitted.code, admitted.http_status


def test_a_live_key_is_admitted_with_its_scope() -> None:
    scope = scope_of(KEY)
    assert Admission(Credentials(scope), Clock()).admit(KEY) == scope


def test_each_refusal_says_why() -> None:
    clock = Clock()
    admission = Admission(Credentials(scope_of(KEY), scope_of("old", revoked_at_us=5)), clock)
    assert refused(admission.admit(None)) == ("missing_key", 401)
    assert refused(admission.admit("nobody's")) == ("unknown_key", 401)
    assert refused(admission.admit("old")) == ("revoked_key", 401)
    clock.now_us = EXPIRES_AT_US
    assert refused(admission.admit(KEY)) == ("expired_key", 401)


def test_a_refused_key_still_names_its_session() -> None:
    refusal = Admission(Credentials(scope_of(KEY, revoked_at_us=5)), Clock()).admit(KEY)
    assert isinstance(refusal, Refusal)
    assert refusal.scope is not None
    assert refusal.scope.session_id == "ses_1"


def test_a_key_revoked_because_it_had_expired_is_called_expired() -> None:
    clock = Clock()
    clock.now_us = EXPIRES_AT_US + 7
    admission = Admission(Credentials(scope_of(KEY, revoked_at_us=EXPIRES_AT_US + 5)), clock)
    assert refused(admission.admit(KEY)) == ("expired_key", 401)


def test_a_revocation_holds_from_the_next_request_on() -> None:
    credentials = Credentials(scope_of(KEY))
    admission = Admission(credentials, Clock())
    assert admission.admit(KEY) == scope_of(KEY)
    credentials.scopes[key_hash(KEY)] = scope_of(KEY, revoked_at_us=5)
    assert refused(admission.admit(KEY)) == ("revoked_key", 401)


class TestWhileTheLedgerIsOutOfReach:
    def test_a_known_key_lives_on_until_it_expires(self) -> None:
        credentials, clock = Credentials(scope_of(KEY)), Clock()
        admission = Admission(credentials, clock)
        admission.admit(KEY)
        credentials.reachable = False
        assert admission.admit(KEY) == scope_of(KEY)
        clock.now_us = EXPIRES_AT_US
        assert refused(admission.admit(KEY)) == ("expired_key", 401)

    def test_a_new_key_is_told_so(self) -> None:
        credentials = Credentials(scope_of(KEY))
        credentials.reachable = False
        assert refused(Admission(credentials, Clock()).admit(KEY)) == ("ledger_unreachable", 503)

    def test_a_key_known_to_be_revoked_stays_revoked(self) -> None:
        credentials = Credentials(scope_of(KEY, revoked_at_us=5))
        admission = Admission(credentials, Clock())
        admission.admit(KEY)
        credentials.reachable = False
        assert refused(admission.admit(KEY)) == ("revoked_key", 401)

    def test_an_unknown_key_is_not_remembered_as_known(self) -> None:
        credentials = Credentials()
        admission = Admission(credentials, Clock())
        admission.admit(KEY)
        credentials.reachable = False
        assert refused(admission.admit(KEY)) == ("ledger_unreachable", 503)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([(b"authorization", b"Bearer sk-1")], "sk-1"),
        ([(b"authorization", b"bearer  sk-1 ")], "sk-1"),
        ([(b"x-api-key", b"sk-1")], "sk-1"),
        ([(b"x-api-key", b""), (b"authorization", b"Bearer sk-1")], "sk-1"),
        ([(b"authorization", b"Bearer"), (b"x-api-key", b"sk-1")], "sk-1"),
        ([(b"authorization", b"Basic c2stMQ==")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"x-api-key", b" ")], None),
        ([(b"api-key", b"sk-1"), (b"cookie", b"key=sk-1")], None),
        ([(b"x-api-key", b"\xff\xfe")], "\xff\xfe"),
        ([], None),
    ],
)
def test_the_key_is_a_bearer_token_or_x_api_key(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    assert presented_key(headers) == key


def test_only_the_variants_model_may_be_asked_for() -> None:
    assert refuse_model(scope_of(KEY), "hello") is None
    other = refuse_model(scope_of(KEY), "slow")
    assert other is not None
    assert (other.code, other.http_status) == ("model_not_allowed", 403)
    assert "'slow'" in other.message
    assert "'hello'" in other.message
    none = refuse_model(scope_of(KEY), None)
    assert none is not None
    assert (none.code, none.http_status) == ("model_missing", 400)
