from __future__ import annotations

import signal

import pytest

from agentdyno.interruption import Interrupted, held_interruptions


def test_what_is_held_comes_at_the_end() -> None:
    done = []
    with pytest.raises(Interrupted) as raised, held_interruptions():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")

    assert done == ["all of it"]
    assert raised.value.signum == signal.SIGTERM


def test_between_two_steps_it_is_asked_for() -> None:
    with pytest.raises(Interrupted), held_interruptions() as interruptions:
        interruptions.raise_if_any()
        signal.raise_signal(signal.SIGINT)
        interruptions.raise_if_any()
        pytest.fail("went on")


def test_released_it_is_raised_at_once_and_only_once() -> None:
    cleaned_up = []
    with pytest.raises(Interrupted) as raised, held_interruptions() as interruptions:
        try:
            with interruptions.released():
                signal.raise_signal(signal.SIGHUP)
                pytest.fail("went on")
        finally:
            more = interruptions.more()
            cleaned_up.append(more())
            signal.raise_signal(signal.SIGINT)
            cleaned_up.append(more())

    assert cleaned_up == [False, True]
    assert raised.value.signum == signal.SIGHUP


def test_what_came_before_the_release_is_raised_by_it() -> None:
    with pytest.raises(Interrupted), held_interruptions() as interruptions:
        signal.raise_signal(signal.SIGINT)
        with interruptions.released():
            pytest.fail("went on")


def test_another_fault_is_not_covered_up() -> None:
    with pytest.raises(ValueError, match="ours"), held_interruptions():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("ours")


def test_handlers_come_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt = signal.getsignal(signal.SIGINT)
        with held_interruptions() as interruptions:
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGINT) == interruptions.note
        assert signal.getsignal(signal.SIGINT) is interrupt
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
