"""What a shell may complete a word to. It is asked at every press of a key: quick, and silent whatever is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import typer


def variants() -> Sequence[str]:
    """Variants that are configured here."""
    return _configured("variants")


def task_cards() -> Sequence[str]:
    """Task cards that are configured here."""
    return _configured("task_cards")


def experiments() -> Sequence[str]:
    """Experiments that are configured here."""
    return _configured("experiments")


def harness_profiles() -> Sequence[str]:
    """Harness profiles that are configured here, or come with agentdyno."""
    return _configured("harness_profiles")


def kinds() -> Sequence[str]:
    """Kinds of entities: provider, variant, …"""
    from agentdyno.core.records import CONFIGURED

    return list(CONFIGURED)


def folders() -> Sequence[str]:
    """The folders of those kinds: providers, variants, …"""
    return [f"{kind}s" for kind in kinds()]


def entities(ctx: typer.Context) -> Sequence[str]:
    """Entities of the kind that the words before this one name."""
    kind = str(ctx.params.get("kind") or "").replace("-", "_").removesuffix("s")
    return _configured(f"{kind}s") if kind in kinds() else ()


def sessions() -> Sequence[str]:
    """Ids of sessions, newest first."""
    return _recorded(only_open=False)


def open_sessions() -> Sequence[str]:
    """Ids of sessions that are not finalized, newest first."""
    return _recorded(only_open=True)


def sessions_and_experiments() -> Sequence[str]:
    """What can be reconciled: experiments that are configured here, and ids of sessions."""
    return [*experiments(), *sessions()]


def _configured(folder: str) -> Sequence[str]:
    from pathlib import Path

    from agentdyno.sessions.lookup import names_in, nearest_project

    with contextlib.suppress(OSError, ValueError):  # a folder that is gone, a file that cannot be read or is no text
        project = nearest_project(Path.cwd())
        return () if project is None else names_in(project, folder)
    return ()


def _recorded(*, only_open: bool) -> Sequence[str]:
    import os
    from pathlib import Path

    from agentdyno.core.errors import UserError
    from agentdyno.sessions.lookup import newest_sessions

    with contextlib.suppress(OSError, ValueError, UserError):
        return newest_sessions(Path.cwd(), os.environ, only_open=only_open)
    return ()
