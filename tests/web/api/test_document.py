"""The OpenAPI document: valid, complete, and what is declared is what is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from dashboard.services.permissions import Permission
from dashboard.web.api.cursors import Page
from dashboard.web.api.document import openapi
from dashboard.web.api.routes import Content, Header, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import API_DOCUMENT, API_PATHS
from dashboard.web.guards import Access
from tests.web.api.golden import FILE, outline
from tests.web.conftest import WebConsole


def test_the_document_is_valid_openapi(console: WebConsole) -> None:
    OpenAPIV31SpecValidator(console.app.extensions[API_DOCUMENT]()).validate()


def test_every_route_of_the_api_is_in_the_document(console: WebConsole) -> None:
    paths = console.app.extensions[API_DOCUMENT]()["paths"]
    documented = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    registered = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in console.app.url_map.iter_rules()
        if rule.rule.startswith(API_PATHS)
        for method in rule.methods or set()
    }
    assert documented - registered == set()
    by_flask = {(path, method) for path, method in registered if method in ("HEAD", "OPTIONS")}
    assert registered - documented - by_flask == set()


def test_every_operation_has_a_summary_and_an_id_of_its_own(console: WebConsole) -> None:
    document = console.app.extensions[API_DOCUMENT]()
    operations = [o for methods in document["paths"].values() for o in methods.values()]
    assert all(operation["summary"] for operation in operations)
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert used == set(document["components"]["schemas"])


@dataclass(frozen=True)
class Sent:
    """What is sent."""

    name: Annotated[str, Field("Its name.", maximum_length=9)]
    size: int = 3


@dataclass(frozen=True)
class Received:
    """What comes back."""

    id: int
    labels: Mapping[str, str]


def test_a_declaration_becomes_an_operation() -> None:
    things = Resource("Things", "Some things.", prefix="/api/v9")

    @things.route(
        "PUT",
        "/things/<int:id>/<path:key>",
        Permission.CONFIGURE,
        query=Page,
        body=Sent,
        returns=Received,
        status=201,
        also={200: "It was there already."},
        errors={412: "Changed meanwhile."},
        headers=(Header("If-Match", "Its ETag."),),
        response_headers=(Header("ETag", "Its version."),),
    )
    def put(id: int, key: str, query: Page, body: Sent) -> None:
        """Store a thing.

        Over
        two lines.
        """

    @things.route("GET", "/things.csv", Access.ALWAYS, returns=Content("text/csv"))
    def listed() -> None:
        """All of them."""

    document = openapi([things])
    OpenAPIV31SpecValidator(document).validate()
    operation = document["paths"]["/api/v9/things/{id}/{key}"]["put"]
    assert (operation["summary"], operation["operationId"]) == ("Store a thing", "things_put")
    assert operation["description"] == "Over two lines.\n\nRequires `configure`."
    assert [(p["name"], p["in"], p["required"]) for p in operation["parameters"]] == [
        ("id", "path", True),
        ("key", "path", True),
        ("limit", "query", False),
        ("cursor", "query", False),
        ("If-Match", "header", False),
    ]
    assert operation["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Sent"}}},
    }
    assert list(operation["responses"]) == (
        ["200", "201", "400", "401", "403", "404", "409", "412", "413", "415", "429", "500", "504", "507"]
    )
    assert operation["responses"]["201"]["headers"]["ETag"]["description"] == "Its version."
    assert document["components"]["schemas"]["Received"] == {
        "type": "object",
        "description": "What comes back.",
        "properties": {
            "id": {"type": "integer"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["id", "labels"],
    }
    listing = document["paths"]["/api/v9/things.csv"]["get"]
    assert listing["security"] == []
    assert list(listing["responses"]) == ["200", "400", "500", "504"]
    assert listing["responses"]["200"]["content"] == {"text/csv": {}}


def test_two_types_of_one_name_are_refused() -> None:
    things = Resource("Things", "Some things.", prefix="/api/v9")

    def other() -> type:
        @dataclass(frozen=True)
        class Received:
            """Another one."""

        return Received

    things.route("GET", "/a", Permission.VIEW, returns=Received)(lambda: None)
    things.route("GET", "/b", Permission.VIEW, returns=other())(lambda: None)
    with pytest.raises(ValueError, match="two types of the API are called Received"):
        openapi([things])


def test_the_document_is_the_one_that_was_reviewed() -> None:
    """What old clients rely on. After a change that they survive, write the file again with
    ``python -m tests.web.api.golden``."""
    assert outline() == FILE.read_text(encoding="utf-8")
