"""Which file says what: the five kinds of configured entities and where their files lie.

A file is one entity. Its folder below `configs/` tells the kind; its stem is the entity's name, unless `name` says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from agentdyno.core.config.documents import Document, Path
from agentdyno.core.config.sound import Sound
from agentdyno.core.errors import Fault
from agentdyno.core.layout import CONFIGS_FOLDER
from agentdyno.core.names import NAME, nearest
from agentdyno.core.records import CONFIGURED

FOLDERS: Mapping[str, str] = MappingProxyType({f"{kind}s": kind for kind in CONFIGURED})
"""Folder below `configs/` to kind of entity."""


class Entity(NamedTuple):
    """What one file says; the record is missing where the file is faulty, and what is sound of it is there always."""

    kind: str
    name: str
    document: Document
    record: Any
    sound: Sound

    def fault(self, path: Path, message: str) -> Fault:
        """A fault at a field of this entity."""
        return self.document.fault(path, message)


Registry = Mapping[str, Mapping[str, Entity]]
"""Kind to name to entity; faulty entities included, so that a reference to one is not a second fault."""


def kind_of(file: str) -> str | None:
    """The kind of entity that a file holds, from where it lies; None when nothing belongs there."""
    folders, name = PurePosixPath(file).parts[:-1], PurePosixPath(file)
    if len(folders) != 2 or folders[0] != CONFIGS_FOLDER or name.suffix != ".yaml":
        return None
    return FOLDERS.get(folders[1])


def misplaced(file: str) -> Fault:
    """The fault of a file that lies where no entity belongs."""
    parts = PurePosixPath(file).parts
    near = nearest(parts[1], FOLDERS) if len(parts) == 3 else None
    if near is not None and near != parts[1]:
        return Fault(file, 0, "", f'lies in no folder of entities; did you mean "{CONFIGS_FOLDER}/{near}"?')
    expected = f"{CONFIGS_FOLDER}/<kind>/<name>.yaml, where <kind> is one of {', '.join(sorted(FOLDERS))}"
    return Fault(file, 0, "", f"is not where an entity's file belongs; expected {expected}")


def name_of(document: Document) -> str:
    """What a document's entity is called."""
    given = document.data.get("name") if isinstance(document.data, dict) else None
    return given if isinstance(given, str) else PurePosixPath(document.file).stem


def registered(entities: Iterable[Entity], faults: list[Fault]) -> Registry:
    """The entities by kind and name. A name taken twice, or one that is no name, becomes a fault."""
    registry: dict[str, dict[str, Entity]] = {kind: {} for kind in CONFIGURED}
    for entity in entities:
        first = registry[entity.kind].setdefault(entity.name, entity)
        if first is not entity:
            where = f"{first.document.file}:{first.document.line(('name',))}"
            faults.append(entity.fault(("name",), f'"{entity.name}" is already taken by {where}'))
        if not NAME.fullmatch(entity.name):
            faults.append(
                entity.fault(
                    ("name",),
                    f'"{entity.name}" is not a name; expected lower-case letters, digits, ".", "_" and "-", '
                    "beginning with a letter or a digit",
                )
            )
    return registry
