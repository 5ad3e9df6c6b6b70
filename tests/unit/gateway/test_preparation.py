"""Which of LiteLLM's tasks are done at once, and which in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

import pytest

from agentdyno.gateway.preparation import PreparingExecutor


def completion(model: str, *, acompletion: bool = False) -> threading.Thread:
    """As LiteLLM's is called; it gives the thread that it runs in."""
    if model.endswith("bad"):
        raise ValueError(model)
    return threading.current_thread()


def another(model: str, *, acompletion: bool = False) -> threading.Thread:
    return threading.current_thread()


def as_litellm_has_it(function: Callable[..., threading.Thread], model: str, *, acompletion: bool = True) -> object:
    return partial(copy_context().run, partial(function, model=model, acompletion=acompletion))


def is_done_at_once(task: object) -> bool:
    async def ask() -> bool:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PreparingExecutor(completion))
        assert callable(task)
        return await loop.run_in_executor(None, task) is threading.current_thread()

    return asyncio.run(ask())


def test_what_only_computes_is_done_at_once() -> None:
    assert is_done_at_once(as_litellm_has_it(completion, "openai/org/m"))


@pytest.mark.parametrize(
    "task",
    [
        as_litellm_has_it(completion, "bedrock/m"),  # it may ask for credentials, and wait
        as_litellm_has_it(completion, "hosted_vllm/m"),  # it may fetch a file that a message names
        as_litellm_has_it(completion, "openai_like/m"),
        as_litellm_has_it(completion, "openai/m", acompletion=False),  # it would wait for the answer
        as_litellm_has_it(another, "openai/m"),
        partial(completion, "openai/m"),
        partial(threading.current_thread),
        threading.current_thread,
    ],
)
def test_what_may_wait_is_done_in_a_thread(task: object) -> None:
    assert not is_done_at_once(task)


def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="openai/bad"):
        is_done_at_once(as_litellm_has_it(completion, "openai/bad"))
