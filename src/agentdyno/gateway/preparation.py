"""What LiteLLM does of a chat before it sends it, done where it is asked for.

LiteLLM hands that to the event loop's threads, because for some providers it waits for a network. For OpenAI's own
client it only computes, and to have a thread do it costs more than it takes: the two contend for one interpreter, and
whatever lets go of it in between, as every write and every look-up does, stands back behind the thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
NAME = "gateway"
"""What the names of the threads begin with."""
_ONLY_COMPUTED = "openai/"


class PreparingExecutor(ThreadPoolExecutor):
    """The threads of an event loop, but for what can be done at once."""

    def __init__(self, completion: Callable[..., object]) -> None:
        """`completion`: LiteLLM's function of that name, by which it is known what a task is."""
        super().__init__(thread_name_prefix=NAME)
        self._completion = completion

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a task done. Raises what it raises, where it is done at once."""
        if not self._only_computes(task):
            return super().submit(task, *args, **kwargs)
        done: Future[T] = Future()
        done.set_result(task(*args, **kwargs))
        return done

    def _only_computes(self, task: object) -> bool:
        """Whether it prepares a chat for OpenAI's client: `partial(context.run, partial(completion, model=…, …))`."""
        within = task.args[0] if isinstance(task, functools.partial) and task.args else None
        if not isinstance(within, functools.partial) or within.func is not self._completion:
            return False
        return within.keywords.get("acompletion") is True and str(within.keywords["model"]).startswith(_ONLY_COMPUTED)
