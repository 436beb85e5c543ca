"""Routes of the API, each declared together with what its document says: permission, parameters, statuses.

One module a resource makes a :class:`Resource` and decorates its views; ``v1.py`` registers them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, make_response
from werkzeug.wrappers import Response as AnyResponse

from dashboard.services.json_values import plain
from dashboard.services.permissions import Permission
from dashboard.web.api.inputs import read_json, read_query
from dashboard.web.guards import Access, Rule, declare

F = TypeVar("F", bound=Callable[..., Any])

JSON = "application/json"
STORAGE_ERRORS = (502, 503, 504, 507)
"""What a backend's server may cause; ``Operation.storage`` documents them."""


@dataclass(frozen=True, slots=True)
class NoParameters:
    """The query of a route that takes no parameters."""


@dataclass(frozen=True, slots=True)
class Content:
    """A body that is not JSON: its media type, and what it is."""

    type: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a request or of a response."""

    name: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A view's result with a status or headers of its own."""

    value: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    ``query`` and ``body`` are dataclasses that the view gets as arguments of these names; a ``Content`` body
    the view reads itself. ``returns``: a dataclass, ``Content``, or None for no body. ``status`` of success,
    ``also``: other successes. ``errors``: statuses beyond those that follow from the rest, and when.
    ``storage``: it talks to a backend's server.
    """

    method: str
    path: str
    rule: Rule
    view: Callable[..., Any]
    tag: str
    query: type | None = None
    body: type | Content | None = None
    returns: Any = None
    status: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    headers: Sequence[Header] = ()
    response_headers: Sequence[Header] = ()
    storage: bool = False

    @property
    def endpoint(self) -> str:
        """The endpoint's name: the tag and the view's name."""
        return f"{self.tag.lower().replace(' ', '_')}_{self.view.__name__}"


class Resource:
    """The routes of one resource. ``tag`` and ``about`` head them in the document; their addresses begin with
    ``prefix``."""

    def __init__(self, tag: str, about: str, *, prefix: str = "/api/v1") -> None:
        self.tag = tag
        self.about = about
        self.prefix = prefix
        self.operations: list[Operation] = []

    def route(self, method: str, path: str, rule: Rule, **declared: Any) -> Callable[[F], F]:
        """Decorate a view; ``path`` is relative to the prefix, ``declared`` the rest of :class:`Operation`.
        The view's docstring is its summary and description."""

        def mark(view: F) -> F:
            if rule not in (Access.ALWAYS, Access.SIGNED_IN) and not isinstance(rule, Permission):
                raise ValueError("a route of the API has a permission, or any valid token may use it")
            self.operations.append(Operation(method, path, rule, view, self.tag, **declared))
            return view

        return mark

    def register(self, blueprint: Blueprint) -> None:
        """Add every route to a blueprint."""
        for operation in self.operations:
            blueprint.add_url_rule(
                self.prefix + operation.path,
                operation.endpoint,
                declare(operation.rule)(_callable(operation)),
                methods=[operation.method],
            )


def _callable(operation: Operation) -> Callable[..., AnyResponse]:
    @wraps(operation.view)
    def call(**arguments: Any) -> AnyResponse:
        query: object = read_query(operation.query or NoParameters)
        if operation.query is not None:
            arguments["query"] = query
        if isinstance(operation.body, type):
            arguments["body"] = read_json(operation.body)
        return _response(operation, operation.view(**arguments))

    return call


def _response(operation: Operation, result: object) -> AnyResponse:
    if isinstance(result, AnyResponse):
        return result
    reply = result if isinstance(result, Reply) else Reply(result, operation.status)
    if reply.value is None:
        response = Response(status=204 if reply.status == 200 else reply.status)
        response.headers.pop("Content-Type", None)
    else:
        response = make_response(jsonify(plain(reply.value)), reply.status)
    response.headers.update(reply.headers)
    return response
