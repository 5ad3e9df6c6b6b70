"""The plainest value that a JSON schema admits. Pure.

It understands what schemas of tools use: `const`, `enum`, `default`, types (in any case, with null among them), bounds
of numbers, texts and lists, required properties, `anyOf`, `oneOf`, `allOf` and references into the schema itself. It
does not understand patterns, formats, unique items, `not` or conditions; of `oneOf` it satisfies the first alternative
that is not null, and does not ask whether another is satisfied too. A default is believed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_DEPTH = 10
_TEXT = "scripted"
_KEYWORDS_OF_TYPES = {"properties": "object", "required": "object", "items": "array", "minLength": "string"}


def plain_value(schema: Any, root: Schema, depth: int = _DEPTH) -> Any:
    """The value; None where no type is known. References are looked up in `root`. Endless recursion ends in None."""
    if depth == 0:
        return None
    merged = merged_schema(schema, root)
    if "const" in merged:
        return merged["const"]
    choices = merged.get("enum")
    if "default" in merged and (not isinstance(choices, list) or merged["default"] in choices):
        return merged["default"]
    if isinstance(choices, list) and choices:
        return choices[0]
    match type_of(merged):
        case "string":
            return _text(merged)
        case "integer":
            return _number(merged, whole=True)
        case "number":
            return _number(merged, whole=False)
        case "boolean":
            return False
        case "array":
            return list(_items(merged, root, depth))
        case "object":
            return required_values(merged, root, depth)
        case _:
            return None


def required_values(schema: Schema, root: Schema, depth: int = _DEPTH) -> dict[str, Any]:
    """Values for the properties that an object's schema requires."""
    required, properties = schema.get("required"), properties_of(schema)
    names = required if isinstance(required, list) else []
    return {name: plain_value(properties.get(name), root, depth - 1) for name in names if isinstance(name, str)}


def properties_of(schema: Schema) -> Mapping[str, Any]:
    """The schemas of an object's properties, none where they are not written as they must be."""
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def merged_schema(schema: Any, root: Schema, depth: int = _DEPTH) -> Schema:
    """The schema with its references, its `allOf` and its first alternative that is not null written into it."""
    if not isinstance(schema, Mapping) or depth == 0:
        return {}
    merged = {name: value for name, value in schema.items() if name not in ("$ref", "allOf", "anyOf", "oneOf")}
    for part in _parts(schema, root):
        merged = _both(merged, merged_schema(part, root, depth - 1))
    return merged


def type_of(merged: Schema) -> str | None:
    """The type, in lower case: the first that is not null where there are several; by keywords where none is named."""
    declared = merged.get("type")
    types = [each.lower() for each in (declared if isinstance(declared, list) else [declared]) if isinstance(each, str)]
    if types:
        return next((each for each in types if each != "null"), "null")
    return next((implied for keyword, implied in _KEYWORDS_OF_TYPES.items() if keyword in merged), None)


def _parts(schema: Schema, root: Schema) -> Iterator[Any]:
    if isinstance(schema.get("$ref"), str):
        yield _referenced(schema["$ref"], root)
    if isinstance(schema.get("allOf"), list):
        yield from schema["allOf"]
    for keyword in ("anyOf", "oneOf"):
        alternatives = schema.get(keyword)
        if isinstance(alternatives, list) and alternatives:
            yield next((each for each in alternatives if not _is_null(each)), alternatives[0])


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and type_of(schema) == "null"


def _referenced(reference: str, root: Schema) -> Any:
    """What a reference such as `#/$defs/Path` points to; None when it points nowhere."""
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _both(one: Schema, other: Schema) -> dict[str, Any]:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**properties_of(one), **properties_of(other)}
    if isinstance(one.get("required"), list) and isinstance(other.get("required"), list):
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _text(schema: Schema) -> str:
    at_least, at_most = _bound(schema, "minLength"), _bound(schema, "maxLength")
    text = _TEXT if at_least is None else _TEXT.ljust(math.ceil(at_least), "-")
    return text if at_most is None else text[: math.floor(at_most)]


def _items(schema: Schema, root: Schema, depth: int) -> Iterator[Any]:
    for _ in range(math.ceil(_bound(schema, "minItems") or 0)):
        yield plain_value(schema.get("items"), root, depth - 1)


def _number(schema: Schema, *, whole: bool) -> float | None:
    """Zero or one where the bounds admit them, else the first number that they admit; None if they admit none."""
    step = _bound(schema, "multipleOf") or 1
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    lowest = max((each for each in (low, above) if each is not None), default=-math.inf)
    highest = min((each for each in (high, below) if each is not None), default=math.inf)
    candidates: list[float] = [0, 1]
    if lowest > -math.inf:
        first = math.ceil(lowest / step) * step
        candidates += [first, first + step, *([] if whole else [lowest])]
    if highest < math.inf:
        last = math.floor(highest / step) * step
        candidates += [last, last - step, *([] if whole else [highest])]
    if not whole and math.isfinite(lowest) and math.isfinite(highest):
        candidates.append((lowest + highest) / 2)
    for each in candidates:
        inside = lowest <= each <= highest and each not in (above, below)
        if inside and ("multipleOf" not in schema or each % step == 0):
            return int(each) if whole else each
    return None


def _bound(schema: Schema, keyword: str) -> float | None:
    """A bound as a number; some surfaces write whole ones as text."""
    value = schema.get(keyword)
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
