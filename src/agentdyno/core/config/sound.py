"""What can be relied on in a document that has faults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from agentdyno.core.config.documents import Path, field_name


class Sound(NamedTuple):
    """The values of a document as far as they are sound, so that one fault hides no other and causes none."""

    fields: Mapping[str, Any]
    """Plain values, defaults included, with None in the place of each that is not of its type."""
    faulty: frozenset[str]
    """Names of the fields that have a fault or may be what a misspelt one was meant to be."""

    def get(self, *path: str | int) -> Any:
        """The value at a path; None when it is absent or faulty."""
        return None if self.is_faulty(*path) else self._at(path)

    def is_faulty(self, *path: str | int) -> bool:
        """Whether the field at a path, or anything in it, has a fault."""
        name = field_name(path)
        within = (f"{name}.", f"{name}[")
        return any(fault == name or fault.startswith(within) for fault in self.faulty)

    def keys(self, *path: str | int) -> tuple[Any, ...]:
        """What stands in a mapping, or the positions in a list, whatever is wrong with the values."""
        value = self._at(path)
        if isinstance(value, list):
            return tuple(range(len(value)))
        return tuple(value) if isinstance(value, dict) else ()

    def all_keys(self, *path: str | int) -> frozenset[str] | None:
        """The keys of a mapping, whatever is wrong with its values; None when there may be others."""
        value = self._at(path)
        return frozenset(value) if isinstance(value, dict) and field_name(path) not in self.faulty else None

    def _at(self, path: Path) -> Any:
        value: Any = self.fields
        for part in path:
            if isinstance(value, list) and isinstance(part, int):
                value = value[part]
            else:
                value = value.get(part) if isinstance(value, Mapping) else None
        return value


def pruned(value: Any, unsound: Collection[Path], path: Path = ()) -> Any:
    """A plain value, which stands at a path, with None in the place of all that stands at the unsound paths."""
    if path in unsound:
        return None
    if isinstance(value, dict):
        return {key: pruned(item, unsound, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [pruned(item, unsound, (*path, position)) for position, item in enumerate(value)]
    return value
