"""Who may pass."""

from __future__ import annotations

import asyncio

from tests.unit.gateway.credentials import EXPIRES_AT_US, KEY, Clock, Credentials, scope_of

from agentdyno.core.ids import key_hash
from agentdyno.gateway.admission import Admission, Refusal, models_of, refuse_model
from agentdyno.store.credentials import CredentialScope


def refused(admitted: CredentialScope | Refusal) -> tuple[str, int]:
    assert isinstance(admitted, Refusal)
    return admitted.code, admitted.http_status


def admit(admission: Admission, key: str | None) -> CredentialScope | Refusal:
    return asyncio.run(admission.admit(key))


def test_a_live_key_is_admitted_with_its_scope() -> None:
    scope = scope_of(KEY)
    assert admit(Admission(Credentials(scope).look_up, Clock()), KEY) == scope


def test_each_refusal_says_why() -> None:
    clock = Clock()
    admission = Admission(Credentials(scope_of(KEY), scope_of("old", revoked_at_us=5)).look_up, clock)
    assert refused(admit(admission, None)) == ("missing_key", 401)
    assert refused(admit(admission, "nobody's")) == ("unknown_key", 401)
    assert refused(admit(admission, "old")) == ("revoked_key", 401)
    clock.now_us = EXPIRES_AT_US
    assert refused(admit(admission, KEY)) == ("expired_key", 401)


def test_a_refused_key_still_names_its_session() -> None:
    refusal = admit(Admission(Credentials(scope_of(KEY, revoked_at_us=5)).look_up, Clock()), KEY)
    assert isinstance(refusal, Refusal)
    assert refusal.scope is not None
    assert refusal.scope.session_id == "ses_1"


def test_a_key_revoked_because_it_had_expired_is_called_expired() -> None:
    clock = Clock()
    clock.now_us = EXPIRES_AT_US + 7
    admission = Admission(Credentials(scope_of(KEY, revoked_at_us=EXPIRES_AT_US + 5)).look_up, clock)
    assert refused(admit(admission, KEY)) == ("expired_key", 401)


def test_a_revocation_holds_from_the_next_request_on() -> None:
    credentials = Credentials(scope_of(KEY))
    admission = Admission(credentials.look_up, Clock())
    assert admit(admission, KEY) == scope_of(KEY)
    credentials.scopes[key_hash(KEY)] = scope_of(KEY, revoked_at_us=5)
    assert refused(admit(admission, KEY)) == ("revoked_key", 401)


class TestWhileTheLedgerIsOutOfReach:
    def test_a_known_key_lives_on_until_it_expires(self) -> None:
        credentials, clock = Credentials(scope_of(KEY)), Clock()
        admission = Admission(credentials.look_up, clock)
        admit(admission, KEY)
        credentials.reachable = False
        assert admit(admission, KEY) == scope_of(KEY)
        clock.now_us = EXPIRES_AT_US
        assert refused(admit(admission, KEY)) == ("expired_key", 401)

    def test_a_new_key_is_told_so(self) -> None:
        credentials = Credentials(scope_of(KEY))
        credentials.reachable = False
        assert refused(admit(Admission(credentials.look_up, Clock()), KEY)) == ("ledger_unreachable", 503)

    def test_a_key_known_to_be_revoked_stays_revoked(self) -> None:
        credentials = Credentials(scope_of(KEY, revoked_at_us=5))
        admission = Admission(credentials.look_up, Clock())
        admit(admission, KEY)
        credentials.reachable = False
        assert refused(admit(admission, KEY)) == ("revoked_key", 401)

    def test_an_unknown_key_is_not_remembered_as_known(self) -> None:
        credentials = Credentials()
        admission = Admission(credentials.look_up, Clock())
        admit(admission, KEY)
        credentials.reachable = False
        assert refused(admit(admission, KEY)) == ("ledger_unreachable", 503)


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


def test_a_key_in_the_place_of_a_model_is_not_told_again() -> None:
    refusal = refuse_model(scope_of(KEY), "sk-dyno-planted-key")
    assert refusal is not None
    assert "planted" not in refusal.message


class TestASmallModel:
    def test_may_be_asked_for_beside_the_variants_own(self) -> None:
        scope = scope_of(KEY, small_model="cached")
        assert models_of(scope) == ("hello", "cached")
        assert refuse_model(scope, "hello") is None
        assert refuse_model(scope, "cached") is None
        other = refuse_model(scope, "slow")
        assert other is not None
        assert "'hello' and 'cached'" in other.message

    def test_that_is_the_variants_own_is_no_other(self) -> None:
        assert models_of(scope_of(KEY, small_model="hello")) == ("hello",)
