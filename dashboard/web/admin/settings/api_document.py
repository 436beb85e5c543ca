"""The API's document as a page: what its routes take and return, from the OpenAPI document itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app, render_template
from markupsafe import Markup

from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, route
from dashboard.web.context import api_document

Json = Mapping[str, Any]

_EXTENSION = "stowage.api_reference"
_SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class ShownType:
    """A type in words. ``link``: the named schema that it is or holds, or empty; ``limits`` in words."""

    text: str
    link: str = ""
    limits: str = ""


@dataclass(frozen=True, slots=True)
class ShownField:
    """A parameter, or a field of an object. ``place``: path, query or header."""

    name: str
    type: ShownType
    required: bool
    description: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class ShownResponse:
    """What a status means, and the type of its body if it has one."""

    status: str
    description: str
    type: ShownType | None


@dataclass(frozen=True, slots=True)
class ShownOperation:
    """One method of one path."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[ShownField, ...]
    body: ShownType | None
    responses: tuple[ShownResponse, ...]


@dataclass(frozen=True, slots=True)
class ShownSchema:
    """A named object and its fields."""

    name: str
    description: str
    fields: tuple[ShownField, ...]


@dataclass(frozen=True, slots=True)
class ShownTag:
    """The operations of one resource."""

    name: str
    description: str
    operations: tuple[ShownOperation, ...]


class ApiDocument(Page):
    """``/settings/api``"""

    path = "/settings/api"
    endpoint_name = "api_document"
    menu_parent = "Settings"

    @route("", Permission.VIEW)
    def index(self) -> str:
        """Every route of the API, by resource."""
        return str(self.render("admin/settings/api_document.html", reference=_reference()))


def _reference() -> Markup:
    """The document as HTML, which is the same for everybody: made once for an application."""
    made: Markup | None = current_app.extensions.get(_EXTENSION)
    if made is None:
        document = api_document()
        made = Markup(  # noqa: S704  # what the template has escaped
            render_template(
                "admin/settings/api_reference.html",
                about=document["info"]["description"],
                tags=tags(document),
                schemas=schemas(document),
            )
        )
        current_app.extensions[_EXTENSION] = made
    return made


def tags(document: Json) -> tuple[ShownTag, ...]:
    """The resources of a document and their operations."""
    operations = list(_operations(document))
    return tuple(
        ShownTag(tag["name"], tag["description"], tuple(o for name, o in operations if name == tag["name"]))
        for tag in document["tags"]
    )


def schemas(document: Json) -> tuple[ShownSchema, ...]:
    """The named objects of a document."""
    return tuple(
        ShownSchema(name, schema.get("description", ""), tuple(_fields(schema)))
        for name, schema in document["components"]["schemas"].items()
    )


def _operations(document: Json) -> Iterator[tuple[str, ShownOperation]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (
                operation["tags"][0],
                ShownOperation(
                    id=operation["operationId"],
                    method=method.upper(),
                    path=path,
                    summary=operation["summary"],
                    description=operation.get("description", ""),
                    parameters=tuple(_parameter(each) for each in operation.get("parameters", ())),
                    body=_content(operation["requestBody"]) if "requestBody" in operation else None,
                    responses=tuple(
                        ShownResponse(status, response["description"], _content(response))
                        for status, response in operation["responses"].items()
                    ),
                ),
            )


def _parameter(parameter: Json) -> ShownField:
    schema = parameter["schema"]
    about = parameter.get("description", "") or schema.get("description", "")
    return ShownField(parameter["name"], type_of(schema), parameter["required"], about, parameter["in"])


def _fields(schema: Json) -> Iterator[ShownField]:
    required = frozenset(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        yield ShownField(name, type_of(field), name in required, field.get("description", ""))


def _content(holder: Json) -> ShownType | None:
    for media_type, content in holder.get("content", {}).items():
        if media_type == "application/json" and "$ref" in content.get("schema", {}):
            return type_of(content["schema"])
        return ShownType(media_type)
    return None


def type_of(schema: Json) -> ShownType:
    """A schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return ShownType(name, name)
    if "anyOf" in schema:
        arms = [type_of(arm) for arm in schema["anyOf"]]
        return ShownType(" or ".join(arm.text for arm in arms), next((a.link for a in arms if a.link), ""))
    if "prefixItems" in schema:
        return ShownType(f"list of {len(schema['prefixItems'])} {type_of(schema['prefixItems'][0]).text}s")
    if schema.get("type") == "array":
        inner = type_of(schema["items"])
        return ShownType(f"list of {inner.text}", inner.link, _limits(schema))
    if "enum" in schema:
        return ShownType("text", limits=f"one of {', '.join(map(str, schema['enum']))}")
    return ShownType(_simple(schema), limits=_limits(schema))


def _simple(schema: Json) -> str:
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    kind = schema.get("type", "anything")
    kinds = [kind] if isinstance(kind, str) else list(kind)
    text = " or ".join(names.get(each, each) for each in kinds)
    return "secret text, never returned" if schema.get("writeOnly") else text


def _limits(schema: Json) -> str:
    words = []
    if "minimum" in schema and "maximum" in schema:
        words.append(f"{schema['minimum']:,} to {schema['maximum']:,}")
    elif "minimum" in schema:
        words.append(f"at least {schema['minimum']:,}")
    if "maxLength" in schema:
        words.append(f"at most {schema['maxLength']:,} characters")
    for name in ("maxItems", "maxProperties"):
        if name in schema:
            words.append(f"at most {schema[name]:,} entries")
    if "default" in schema and schema["default"] != "":
        default = schema["default"]
        words.append(f"default {str(default).lower() if isinstance(default, bool) else default}")
    return ", ".join(words)
