"""Responses held against the OpenAPI document: the status is documented, and the body fits its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.test import TestResponse

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What is checked of a response: its status, media type and body."""

    status: int
    type: str | None
    body: bytes


class DocumentCheck:
    """Checks responses of a console against its own document."""

    def __init__(self, document: Json) -> None:
        self._document = document
        whole = Resource(contents=document, specification=DRAFT202012)
        self._registry = Registry().with_resource("document:", whole)
        self._paths = [
            (re.compile(re.sub(r"\\{(\w+)\\}", "[^/]+", re.escape(path)) + r"\Z"), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]

    def knows(self, method: str, path: str) -> bool:
        """Whether the document has this path and method."""
        return self._operation(method, path) is not None

    def _operation(self, method: str, path: str) -> Json | None:
        for pattern, template in self._paths:
            methods = self._document["paths"][template]
            if pattern.match(path.partition("?")[0]) and method.lower() in methods:
                found: Json = methods[method.lower()]
                return found
        return None

    def check(self, method: str, path: str, response: TestResponse) -> None:
        """Assert that the document describes this response."""
        operation = self._operation(method, path)
        assert operation is not None, f"{method} {path} is not in the document"
        answered = ApiResponse(response.status_code, response.mimetype, response.get_data())
        self.check_operation(operation, f"{method} {path}", answered)

    def check_operation(self, operation: Json, request: str, response: ApiResponse) -> None:
        """Assert that this operation describes this response."""
        described = operation["responses"].get(str(response.status))
        where = f"{request}: {response.status} {response.body[:300]!r}"
        assert described is not None, f"undocumented: {where}"
        content = described.get("content")
        if content is None or request.startswith("HEAD "):
            assert not response.body, where
            return
        if not response.body and not response.type:
            return
        kinds = [kind for kind in content if kind in ("*/*", response.type)]
        assert kinds, f"another type, {response.type}: {where}"
        schema = content[kinds[0]].get("schema")
        if schema and response.type == "application/json":
            validator = Draft202012Validator(_rooted(schema), registry=self._registry)
            found = validator.iter_errors(json.loads(response.body))
            errors = [f"{error.json_path}: {error.message}" for error in found]
            assert errors == [], f"{where}\n{errors}"


def _rooted(schema: Any) -> Any:
    """The schema with its references into the document."""
    if isinstance(schema, Mapping):
        return {
            name: f"document:{value}" if name == "$ref" else _rooted(value) for name, value in schema.items()
        }
    return [_rooted(item) for item in schema] if isinstance(schema, list) else schema
