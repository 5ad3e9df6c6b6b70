"""Which conversations have met the fault of their turn, and how often."""

from __future__ import annotations

from collections import Counter

from agentdyno.core.ids import canonical_json, digest_bytes
from agentdyno.providers.reply import Ask
from agentdyno.providers.script import Script

_CONVERSATIONS = ("messages", "input", "contents")


class Encounters:
    """Counts by a digest of the conversation alone: tools and system texts may change from one attempt to the next."""

    def __init__(self) -> None:
        self._met: Counter[str] = Counter()

    def strikes(self, script: Script, ask: Ask) -> bool:
        """Whether the fault befalls this answer. One with a number of times spares the next, and then begins again."""
        fault = script.turn(ask.turn).fault
        if fault is None or fault.times is None:
            return fault is not None
        conversation = _digest(script, ask)
        if self._met[conversation] < fault.times:
            self._met[conversation] += 1
            return True
        del self._met[conversation]
        return False

    def forget(self) -> None:
        """No conversation has met anything."""
        self._met.clear()


def _digest(script: Script, ask: Ask) -> str:
    conversation = [ask.prompt[name] for name in _CONVERSATIONS if name in ask.prompt]
    return digest_bytes(canonical_json([script.name, ask.turn, conversation]).encode("utf-8", "surrogatepass"))
