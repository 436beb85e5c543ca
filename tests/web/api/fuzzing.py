"""Requests made from the OpenAPI document: some that fit it, some that nearly do, some that do not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

Json = Mapping[str, Any]

# Lone surrogates cannot be sent in a URL; in JSON they can, escaped.
_SENT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NASTY = st.sampled_from(
    [
        "",
        " ",
        "0",
        "-1",
        "9" * 25,
        "null",
        "../../etc/passwd",
        "%2e%2e/",
        "a/b//c",
        "\x00",
        "\x7f",
        "ü",
        "\u202e\u2066",
        "💾" * 5,
        "'\"; DROP TABLE users; --",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "x" * 5000,
    ]
)
_TEXT = st.one_of(_SENT, _NASTY)
_ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
        _NASTY,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
_RAW = st.sampled_from(
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a": NaN}', b"[" * 5000, b'{"a":1,"a":2}', b"a=b"]
)


@dataclass(frozen=True, slots=True)
class FuzzRequest:
    """A request to send. ``path`` is quoted and has its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class RequestMaker:
    """Makes strategies for the operations of a document. ``known``: values that mean something, by name;
    ``bodies``: by operation, such that work."""

    def __init__(
        self, document: Json, known: Mapping[str, Sequence[str]], bodies: Mapping[str, Sequence[Any]]
    ) -> None:
        self._schemas = document["components"]["schemas"]
        self._known = known
        self._bodies = bodies

    def requests(self, method: str, template: str, operation: Json) -> st.SearchStrategy[FuzzRequest]:
        """Requests for one operation."""

        working = self._bodies.get(operation["operationId"], ())

        @st.composite
        def made(draw: st.DrawFn) -> FuzzRequest:
            path, query, headers = template, [], {}
            for parameter in operation.get("parameters", ()):
                name, place = parameter["name"], parameter["in"]
                often = place == "header" or parameter["required"]
                wanted = _mostly(st.just(often), st.booleans())
                if place != "path" and not draw(wanted):
                    continue
                value = draw(self._parameter(name, parameter["schema"]))
                if place == "path":
                    path = path.replace(f"{{{name}}}", quote(value or "-", safe=""))
                elif place == "query":
                    query.append(f"{quote(name)}={quote(value)}")
                else:
                    headers[name] = quote(value, safe=' "*/=,;:')
            if draw(_mostly(st.just(False), st.booleans())):
                query.append(f"{quote(draw(_TEXT))}=1")
            body, content_type = draw(self._body(operation.get("requestBody"), working))
            if content_type:
                headers["Content-Type"] = content_type
            return FuzzRequest(method.upper(), path + ("?" + "&".join(query) if query else ""), headers, body)

        return made()

    def _parameter(self, name: str, schema: Json) -> st.SearchStrategy[str]:
        other = self.value(schema, name).map(_as_text) | _TEXT
        known = self._known.get(name, ())
        return _mostly(st.sampled_from(known), other) if known else other

    def _body(self, body: Json | None, working: Sequence[Any]) -> st.SearchStrategy[tuple[bytes, str]]:
        if body is None:
            return st.just((b"", ""))
        kind, content = next(iter(body["content"].items()))
        raw = st.tuples(_RAW, st.sampled_from(["application/json", "text/plain", "", kind.replace("*", "x")]))
        if "schema" not in content or kind != "application/json":
            return st.one_of(raw, st.tuples(st.binary(max_size=50), st.just(kind.replace("*", "x"))))
        fitting = self.value(content["schema"], "")
        if working:
            fitting = _mostly(st.sampled_from(working), fitting)
        near = st.builds(_spoiled, fitting, st.text(max_size=9), _ANYTHING)
        sent = st.one_of(fitting, fitting, near, _ANYTHING).map(lambda value: json.dumps(value).encode())
        return st.one_of(st.tuples(sent, st.just("application/json")), raw)

    def value(self, schema: Json, name: str) -> st.SearchStrategy[Any]:
        """Values that fit a schema, preferring those that are known to mean something."""
        if "$ref" in schema:
            return self.value(self._schemas[schema["$ref"].rpartition("/")[2]], name)
        if "anyOf" in schema:
            return st.one_of(*(self.value(arm, name) for arm in schema["anyOf"]))
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        kind = schema.get("type", "any")
        if isinstance(kind, list):
            return st.one_of(*(self.value({**schema, "type": each}, name) for each in kind))
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return st.lists(self.value(schema.get("items", {}), name), max_size=3)
        if kind == "string" and name in self._known:
            return _mostly(st.sampled_from(self._known[name]), _TEXT)
        low, high = schema.get("minimum", -5), schema.get("maximum", 5)
        plain: dict[str, st.SearchStrategy[Any]] = {
            "string": _TEXT,
            "integer": st.integers(low, max(low, high)),
            "number": st.floats(0, 1e6),
            "boolean": st.booleans(),
            "null": st.none(),
        }
        return plain.get(kind, _ANYTHING)

    def _object(self, schema: Json) -> st.SearchStrategy[Any]:
        fields = {name: self.value(field, name) for name, field in schema.get("properties", {}).items()}
        required = set(schema.get("required", ()))
        if fields:
            return st.fixed_dictionaries(
                {name: fields[name] for name in fields if name in required},
                optional={name: fields[name] for name in fields if name not in required},
            )
        names = st.one_of(st.sampled_from(self._known.get("option", ["x"])), st.text(max_size=9))
        return st.dictionaries(names, self.value(schema.get("additionalProperties", {}), "value"), max_size=4)


def _mostly(wanted: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: wanted if number < 7 else other)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()


def _spoiled(value: Any, name: str, other: Any) -> Any:
    """A value with one field of another kind, or one too many."""
    if not isinstance(value, dict):
        return other
    names = sorted(value)
    return {**value, (names[len(name) % len(names)] if names and name else name): other}
