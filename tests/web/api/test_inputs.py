"""What programs send is read strictly: types, limits, unknown names, hostile JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException

from dashboard.errors import InvalidInput
from dashboard.storage.types import EMPTY, Secret
from dashboard.web.api.inputs import MAX_JSON_BYTES, read_json, read_query, to_value
from dashboard.web.api.schemas import Components, Field


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    """An inner one."""

    depth: int


@dataclass(frozen=True)
class Sample:
    """A sample of ``everything``.

    Not part of the summary.
    """

    name: Annotated[str, Field("Its name.", maximum_length=5, pattern="[a-z]*")]
    size: Annotated[int, Field(minimum=1, maximum=10)] = 1
    ratio: float = 0.5
    flag: bool = False
    colour: Colour = Colour.RED
    maybe: int | None = None
    inner: Inner | None = None
    tags: Annotated[tuple[str, ...], Field(maximum_items=2, maximum_length=3)] = ()
    options: Annotated[Mapping[str, str], Field(maximum_items=2)] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[str, Secret] = field(default_factory=dict)


@pytest.fixture
def app() -> Flask:
    return Flask("bare")


def parsed(app: Flask, body: bytes, content_type: str = "application/json") -> Sample:
    with app.test_request_context("/", method="POST", data=body, content_type=content_type):
        return read_json(Sample)


def test_a_body_becomes_a_value(app: Flask) -> None:
    value = parsed(
        app,
        b'{"name": "abc", "size": 3, "ratio": 2, "flag": true, "colour": "blue", "maybe": null,'
        b' "inner": {"depth": -1}, "tags": ["a", "b"], "options": {"x": "y"}, "secrets": {"k": "v"}}',
        "application/json; charset=utf-8",
    )
    assert value == Sample(
        "abc", 3, 2.0, True, Colour.BLUE, None, Inner(-1), ("a", "b"), {"x": "y"}, {"k": Secret("v")}
    )
    assert "'v'" not in repr(value)


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ('{"name": 5}', "name"),
        ('{"name": null}', "name"),
        ('{"name": "abcdef"}', "name"),
        ('{"name": "A"}', "name"),
        ('{"name": "a\\n"}', "name"),
        ("{}", "name"),
        ('{"name": "a", "nmae": 1}', "nmae"),
        ('{"name": "a", "size": 0}', "size"),
        ('{"name": "a", "size": 11}', "size"),
        ('{"name": "a", "size": true}', "size"),
        ('{"name": "a", "size": 1.0}', "size"),
        ('{"name": "a", "ratio": 1e999}', "ratio"),
        ('{"name": "a", "ratio": "1"}', "ratio"),
        ('{"name": "a", "maybe": 99999999999999999999}', "maybe"),
        ('{"name": "a", "flag": 1}', "flag"),
        ('{"name": "a", "colour": "green"}', "colour"),
        ('{"name": "a", "colour": ["red"]}', "colour"),
        ('{"name": "a", "inner": []}', "inner"),
        ('{"name": "a", "inner": {"depth": "x"}}', "inner.depth"),
        ('{"name": "a", "tags": "ab"}', "tags"),
        ('{"name": "a", "tags": ["a", "b", "c"]}', "tags"),
        ('{"name": "a", "tags": ["abcd"]}', "tags[0]"),
        ('{"name": "a", "options": {"a": "1", "b": "2", "c": "3"}}', "options"),
        ('{"name": "a", "options": {"a": 1}}', "options.a"),
        ('{"name": "a", "secrets": {"a": null}}', "secrets.a"),
        ('{"name": "\\ud800"}', "name"),
        ('{"name": "a", "options": {"\\udfff": ""}}', "options"),
        ('{"name": "a", "name": "b"}', "body"),
        ('{"name": NaN}', "body"),
        ("[]", "body"),
        ("nonsense", "body"),
        ("\ufeff{}", "body"),
        ("[" * 200_000, "body"),
        ('{"size": ' + "9" * 5000 + "}", "body"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(app: Flask, body: str, subject: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(app, body.encode())
    assert refused.value.subject == subject


def test_bytes_that_are_no_text_are_refused(app: Flask) -> None:
    with pytest.raises(InvalidInput):
        parsed(app, b'{"name": "\xff"}')


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"name=a", "application/x-www-form-urlencoded", 415),
        (b"{}", "", 415),
        (b" " * (MAX_JSON_BYTES + 1), "application/json", 413),
    ],
)
def test_other_bodies_have_their_own_status(app: Flask, body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(HTTPException) as refused:
        parsed(app, body, content_type)
    assert refused.value.code == status


def test_no_body_is_an_empty_object(app: Flask) -> None:
    with app.test_request_context("/", method="POST"), pytest.raises(InvalidInput, match="“name” is missing"):
        read_json(Sample)


@dataclass(frozen=True)
class Search:
    """Query parameters."""

    limit: Annotated[int, Field(minimum=1, maximum=9)] = 5
    flag: bool | None = None
    colour: tuple[Colour, ...] = ()
    text: str = ""


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", Search()),
        ("limit=9&flag=true&text=", Search(9, True)),
        ("colour=red&colour=blue", Search(colour=(Colour.RED, Colour.BLUE))),
        ("limit=10", None),
        ("limit=%D9%A1", None),
        ("limit=", None),
        ("limit=1&limit=1", None),
        ("flag=yes", None),
        ("colour=green", None),
        ("unknown=", None),
        ("%F0%9F=1", None),
    ],
)
def test_query_parameters_are_read_as_strictly(app: Flask, query: str, value: Search | None) -> None:
    with app.test_request_context(f"/?{query}"):
        if value is None:
            with pytest.raises(InvalidInput):
                read_query(Search)
        else:
            assert read_query(Search) == value


def test_the_schema_says_what_is_checked() -> None:
    components = Components()
    assert components.schema(Sample, sent=True) == {"$ref": "#/components/schemas/Sample"}
    found: dict[str, Any] = components.schemas["Sample"]
    assert found["description"] == "A sample of `everything`."
    assert found["required"] == ["name"]
    assert found["additionalProperties"] is False
    properties = found["properties"]
    assert properties["name"] == {
        "type": "string",
        "maxLength": 5,
        "description": "Its name.",
        "pattern": "[a-z]*",
    }
    assert properties["size"] == {"type": "integer", "minimum": 1, "maximum": 10, "default": 1}
    assert properties["colour"] == {"type": "string", "enum": ["red", "blue"], "default": "red"}
    assert properties["maybe"] == {"type": ["integer", "null"]}
    assert properties["inner"] == {"anyOf": [{"$ref": "#/components/schemas/Inner"}, {"type": "null"}]}
    assert properties["tags"] == {
        "type": "array",
        "items": {"type": "string", "maxLength": 3},
        "maxItems": 2,
    }
    assert properties["secrets"]["additionalProperties"]["writeOnly"] is True
    assert to_value(Inner, {"depth": 3}) == Inner(3)


def test_a_literal_takes_its_words_only() -> None:
    @dataclass(frozen=True)
    class Chosen:
        theme: Literal["", "dark"] | None = None

    assert to_value(Chosen, {"theme": "dark"}).theme == "dark"
    assert to_value(Chosen, {"theme": None}).theme is None
    for wrong in ("light", 3, ["dark"]):
        with pytest.raises(InvalidInput, match="theme"):
            to_value(Chosen, {"theme": wrong})
