"""The plainest value that a JSON schema admits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agentdyno.providers.plain_values import plain_value
from agentdyno.providers.script import ToolUse
from agentdyno.providers.tool_choice import OfferedTool, choose_call


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "scripted"),
        ({"type": "string", "minLength": 10}, "scripted--"),
        ({"type": "string", "maxLength": 3}, "scr"),
        ({"type": "STRING", "minLength": "9"}, "scripted-"),  # whole numbers as text, as protocol buffers write them
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 1.5}, 2),
        ({"type": "integer", "minimum": 10, "multipleOf": 4}, 12),
        ({"type": "integer", "exclusiveMaximum": -3}, -4),
        ({"type": "integer", "exclusiveMinimum": 0}, 1),
        ({"type": "number", "minimum": 2.5, "maximum": 2.75}, 2.5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.25),
        ({"type": "number", "minimum": 3, "maximum": 2}, None),
        ({"type": "boolean"}, False),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"const": 7}, 7),
        ({"enum": ["fast", "safe"]}, "fast"),
        ({"enum": ["fast", "safe"], "default": "safe"}, "safe"),
        ({"enum": ["fast"], "default": "unheard-of"}, "fast"),
        ({"type": "integer", "default": 120}, 120),
        ({"type": ["null", "integer"]}, 0),
        ({"type": "null"}, None),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "scripted"),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"const": 1}}}]}, {"a": None, "b": 1}),
        ({"properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b"]}, {"b": 2}),
        ({"$ref": "#/$defs/a~1b/0"}, None),
        (True, None),
        ({"required": "a", "properties": []}, {}),
    ],
)
def test_a_value(schema: Any, value: Any) -> None:
    assert plain_value(schema, {}) == value


def test_references_are_looked_up_in_the_whole_schema() -> None:
    root = {"$defs": {"a/b": {"$ref": "#/$defs/Path"}, "Path": {"type": "string", "const": "x"}}}

    assert plain_value({"$ref": "#/$defs/a~1b"}, root) == "x"


def test_a_schema_that_requires_itself_comes_to_an_end() -> None:
    root = {"type": "object", "properties": {"again": {"$ref": "#"}}, "required": ["again"]}
    loop = {"$ref": "#"}

    value, depth = plain_value(root, root), 0
    while isinstance(value, dict):
        value, depth = value["again"], depth + 1

    assert (value, depth) == (None, 10)
    assert plain_value(loop, loop) is None


def bounded_texts() -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(st.integers(0, 20), st.integers(0, 20)).map(
        lambda pair: {"type": "string", "minLength": min(pair), "maxLength": max(pair)}
    )


def bounded_numbers() -> st.SearchStrategy[dict[str, Any]]:
    """Bounds at least two steps apart, so that whole numbers lie between them."""
    return st.builds(
        lambda kind, low, width, step, lower, upper: {
            "type": kind,
            lower: low,
            upper: low + width * step,
            "multipleOf": step,
        },
        kind=st.sampled_from(["integer", "number"]),
        low=st.integers(-1000, 1000),
        width=st.integers(2, 50),
        step=st.integers(1, 9),
        lower=st.sampled_from(["minimum", "exclusiveMinimum"]),
        upper=st.sampled_from(["maximum", "exclusiveMaximum"]),
    )


json_values = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=5))
leaves = st.one_of(
    bounded_texts(),
    bounded_numbers(),
    st.just({"type": "boolean"}),
    st.just({"type": ["null", "integer"]}),
    st.just({"$ref": "#/$defs/Place"}),
    json_values.map(lambda value: {"const": value}),
    st.lists(json_values, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.integers(-9, 9).map(lambda value: {"type": "integer", "default": value}),
)


def wrapped(schemas: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(
            lambda items, least: {"type": "array", "items": items, "minItems": least}, schemas, st.integers(0, 3)
        ),
        objects(schemas),
        st.lists(schemas, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
        schemas.map(lambda one: {"anyOf": [{"type": "null"}, one]}),
        schemas.map(lambda one: {"allOf": [one, {"description": "What it is for."}]}),
    )


def objects(schemas: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    named = st.dictionaries(st.text("xyzé $/~", max_size=5), schemas, max_size=4)
    return named.flatmap(
        lambda properties: st.lists(st.sampled_from([*properties, "command"]), unique=True).map(
            lambda required: {
                "type": "object",
                "properties": {**properties, "command": {"type": "string"}},
                "required": required,
                "additionalProperties": False,
            }
        )
    )


PLACE = {"type": "object", "properties": {"line": {"type": "integer", "minimum": 1}}, "required": ["line"]}


@settings(max_examples=150, deadline=None)
@given(objects(st.recursive(leaves, wrapped, max_leaves=6)))
def test_the_arguments_of_a_call_match_the_tools_schema(schema: dict[str, Any]) -> None:
    whole = {**schema, "$defs": {"Place": PLACE}}

    call = choose_call(ToolUse(shell="ls"), [OfferedTool("bash", whole)])

    assert call is not None
    assert call.arguments["command"] == "ls"
    Draft202012Validator(whole).validate(call.arguments)
