"""The OpenAPI 3.1 document, made from the routes, and the route that serves it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from inspect import cleandoc
from typing import Any

from flask import jsonify, url_for
from werkzeug.wrappers import Response

from dashboard import __version__
from dashboard.services.permissions import Permission
from dashboard.web.api.routes import JSON, STORAGE_ERRORS, Content, Operation, Resource
from dashboard.web.api.schemas import Components, fields_of
from dashboard.web.context import api_document
from dashboard.web.guards import Access

Json = dict[str, Any]

resource = Resource("Document", "This document.")


@dataclass(frozen=True, slots=True)
class Index:
    """Where the document of this API is: for programs, and as a page for people."""

    version: str
    document: str
    page: str


ABOUT = """Everything that the console does with backends, migrations and files. A program sends an API
token as `Authorization: Bearer stw_…`; a page of the console its session cookie and, with every change, the
CSRF token as `X-CSRFToken`. Sizes are bytes, times seconds since the epoch. A list that has more than one
page returns `next_cursor`; send it as `cursor`, until it is null. What goes wrong is told in English, or in
the language that `Accept-Language` asks for, if the console speaks it; to a session in the language of its
pages. `kind` is the same in every language. Fields may be added to responses within a
version of the API; anything else gets a new version in the path."""

_ERROR: Json = {
    "type": "object",
    "description": "What went wrong, why, and what to do about it.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "reason", "operation", "subject", "remedy", "retryable"],
            "properties": {
                "kind": {"type": "string", "description": "The kind of error, for programs."},
                "reason": {
                    "type": "string",
                    "description": "One sentence, for people, in the language of `Content-Language`.",
                },
                "operation": {"type": "string", "description": "What failed."},
                "subject": {"type": "string", "description": "The field, key or backend concerned."},
                "remedy": {"type": "string", "description": "What to do next; may be empty."},
                "retryable": {
                    "type": "boolean",
                    "description": "Whether the same request may succeed later.",
                },
                "id": {"type": "string", "description": "Of an incident: the log names it too."},
            },
        }
    },
}
_WHEN = {
    400: "The request cannot be used; `subject` names the field or parameter.",
    401: "No valid token or session.",
    403: "The user's role, or the token, does not allow this.",
    404: "There is no such thing.",
    409: "Not possible in the present state, or the console has not been set up.",
    413: "The body is too large.",
    415: "The body is not of the type that this takes.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "An error of the console; the log has the details.",
    502: "The backend's server refused, or cannot be reached.",
    503: "The console is sealed: its key is missing.",
    504: "The database or the backend's server took too long.",
    507: "The disk or the backend is full.",
}
_ARGUMENT = re.compile(r"<(?:(?P<type>[a-z]+):)?(?P<name>[a-z_]+)>")
_PATH_TYPES: dict[str | None, Json] = {
    "int": {"type": "integer", "minimum": 0},
    "path": {"type": "string", "description": "May hold slashes."},
    None: {"type": "string"},
}


def openapi(resources: Sequence[Resource]) -> Json:
    """The document of these resources."""
    components = Components()
    components.schemas["Error"] = _ERROR
    paths: dict[str, Json] = {}
    for resource in resources:
        for operation in resource.operations:
            path = resource.prefix + _ARGUMENT.sub(lambda match: f"{{{match['name']}}}", operation.path)
            paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stowage",
            "version": __version__,
            "description": " ".join(ABOUT.split()),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": [], "csrf": []}],
        "tags": [{"name": resource.tag, "description": resource.about} for resource in resources],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token: `stw_…`"},
                "session": {"type": "apiKey", "in": "cookie", "name": "stowage"},
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRFToken",
                    "description": "With every change that a session authorises.",
                },
            },
        },
    }


def _operation(operation: Operation, components: Components) -> Json:
    summary, _, description = cleandoc(operation.view.__doc__ or "").partition("\n\n")
    permission = operation.rule.value if isinstance(operation.rule, Permission) else None
    needs = f"Requires `{permission}`." if permission else _open_to(operation)
    found: Json = {
        "operationId": operation.endpoint,
        "tags": [operation.tag],
        "summary": " ".join(summary.split()).rstrip("."),
        "description": "\n\n".join(part for part in (" ".join(description.split()), needs) if part),
        "responses": _responses(operation, components),
    }
    if parameters := list(_parameters(operation, components)):
        found["parameters"] = parameters
    if operation.body is not None:
        found["requestBody"] = _body(operation.body, components)
    if operation.rule is Access.ALWAYS:
        found["security"] = []
    return found


def _open_to(operation: Operation) -> str:
    return "Open to everybody." if operation.rule is Access.ALWAYS else "Any valid token or session."


def _parameters(operation: Operation, components: Components) -> Iterable[Json]:
    for match in _ARGUMENT.finditer(operation.path):
        schema = dict(_PATH_TYPES[match["type"]])
        yield {"name": match["name"], "in": "path", "required": True, "schema": schema}
    for field in fields_of(operation.query) if operation.query is not None else ():
        schema = components.schema(field.type, field.about, sent=True)
        described = {"description": schema.pop("description")} if "description" in schema else {}
        yield {"name": field.name, "in": "query", "required": field.required, **described, "schema": schema}
    for header in operation.headers:
        yield {
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.description,
            "schema": {"type": "string"},
        }


def _body(body: type | Content, components: Components) -> Json:
    if isinstance(body, Content):
        about = {"description": body.description} if body.description else {}
        return {**about, "required": True, "content": {body.type: {}}}
    required = any(field.required for field in fields_of(body))
    return {"required": required, "content": {JSON: {"schema": components.schema(body, sent=True)}}}


def statuses(operation: Operation) -> dict[int, str]:
    """Every status that an operation may return, and when."""
    found = {operation.status: HTTPStatus(operation.status).phrase, **operation.also}
    errors = [400, 500, 504]
    if operation.rule is not Access.ALWAYS:
        errors += [401, 403, 409, 429]
    if _ARGUMENT.search(operation.path):
        errors.append(404)
    if operation.body is not None:
        errors += [413, 415]
    if operation.storage:
        errors += STORAGE_ERRORS
    if operation.method != "GET":
        errors.append(507)
    return dict(sorted({**found, **{status: _WHEN[status] for status in errors}, **operation.errors}.items()))


def _responses(operation: Operation, components: Components) -> Json:
    found: Json = {}
    for status, description in statuses(operation).items():
        response: Json = {"description": description}
        if status >= 400:
            response["content"] = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
        elif operation.returns is not None and status not in (204, 304):
            response["content"] = _content(operation.returns, components)
        if status == operation.status and operation.response_headers:
            response["headers"] = {
                header.name: {"description": header.description, "schema": {"type": "string"}}
                for header in operation.response_headers
            }
        found[str(status)] = response
    return found


def _content(returns: Any, components: Components) -> Json:
    if isinstance(returns, Content):
        return {returns.type: {"schema": {"description": returns.description}} if returns.description else {}}
    return {JSON: {"schema": components.schema(returns)}}


@resource.route("GET", "", Access.SIGNED_IN, returns=Index)
def index() -> Index:
    """Return where the document is."""
    return Index(__version__, url_for(".document_show"), url_for("api_document.index"))


@resource.route("GET", "/openapi.json", Access.SIGNED_IN, returns=Content(JSON, "OpenAPI 3.1"))
def show() -> Response:
    """Return this document, in OpenAPI 3.1."""
    return jsonify(api_document())
