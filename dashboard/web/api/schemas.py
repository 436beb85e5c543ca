"""JSON Schemas of dataclasses: what the API's document says, and what is sent is checked against. Pure.

A dataclass becomes a component of its own name, described by its docstring; ``Annotated[str, Field(...)]``
says more about a field.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from dashboard.storage.types import Secret

Schema = dict[str, Any]

_SIMPLE: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Secret: {"type": "string", "format": "password", "writeOnly": True},
    object: {},
}


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """More about a field than its type: what it means, and which values it takes. ``maximum_items`` limits
    the entries of a list or a mapping. ``key``: it is an object's key, which may hold what is no text."""

    description: str = ""
    minimum: int | None = None
    maximum: int | None = None
    maximum_length: int | None = None
    maximum_items: int | None = None
    pattern: str | None = None
    deprecated: bool = False
    key: bool = False

    def as_schema(self) -> Schema:
        """Its keywords, without those that belong to the items of a list."""
        words = {
            "description": self.description or None,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "pattern": self.pattern,
            "deprecated": self.deprecated or None,
        }
        return {name: value for name, value in words.items() if value is not None}


@dataclasses.dataclass(frozen=True, slots=True)
class FieldType:
    """A field of a dataclass: its type without ``Annotated``, and what else is known about it."""

    name: str
    type: Any
    about: Field
    required: bool


@cache
def fields_of(kind: Any) -> tuple[FieldType, ...]:
    """The fields of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_field(field, hints[field.name]) for field in dataclasses.fields(kind))


def _field(field: dataclasses.Field[Any], hint: Any) -> FieldType:
    about = Field()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        about = next((extra for extra in extras if isinstance(extra, Field)), about)
    missing = dataclasses.MISSING
    required = field.default is missing and field.default_factory is missing
    return FieldType(field.name, hint, about, required)


def optional(kind: Any) -> Any | None:
    """``X`` of ``X | None``; None for every other type."""
    if get_origin(kind) not in (Union, types.UnionType):
        return None
    rest = [arm for arm in get_args(kind) if arm is not type(None)]
    return rest[0] if len(rest) == 1 and len(get_args(kind)) == 2 else None


class Components:
    """The schemas of all dataclasses that a document refers to, by name."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._kinds: dict[str, type] = {}

    def schema(self, kind: Any, about: Field | None = None, *, sent: bool = False) -> Schema:
        """The schema of a type. ``sent``: of what programs send, where defaults may be left out; in what they
        receive every field is there."""
        about = about or Field()
        inner = optional(kind)
        if inner is not None:
            return _nullable(self.schema(inner, about, sent=sent))
        found = self._plain(kind, about, sent)
        return {**found, **about.as_schema()}

    def _plain(self, kind: Any, about: Field, sent: bool) -> Schema:
        origin = get_origin(kind)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind is not Secret:
            return self._component(kind, sent)
        if origin is Literal:
            return {"type": "string", "enum": list(get_args(kind))}
        if origin in (tuple, Sequence):
            return self._items(get_args(kind), about, sent)
        if origin is Mapping:
            inner = Field(maximum_length=about.maximum_length)
            limits = {"maxProperties": about.maximum_items} if about.maximum_items is not None else {}
            return {
                "type": "object",
                "additionalProperties": self.schema(get_args(kind)[1], inner, sent=sent),
                **limits,
            }
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"type": "string", "enum": [each.value for each in kind]}
        length = {"maxLength": about.maximum_length} if about.maximum_length is not None else {}
        return {**_SIMPLE[kind], **length}

    def _items(self, arms: tuple[Any, ...], about: Field, sent: bool) -> Schema:
        inner = Field(maximum_length=about.maximum_length)
        limits = {"maxItems": about.maximum_items} if about.maximum_items is not None else {}
        if len(arms) == 1 or arms[1] is Ellipsis:
            return {"type": "array", "items": self.schema(arms[0], inner, sent=sent), **limits}
        each = [self.schema(arm, inner, sent=sent) for arm in arms]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}

    def _component(self, kind: type, sent: bool) -> Schema:
        name = kind.__name__
        known = self._kinds.setdefault(name, kind)
        if known is not kind:
            raise ValueError(f"two types of the API are called {name}")
        if name not in self.schemas:
            self.schemas[name] = {}  # it may refer to itself
            self.schemas[name] = self._object(kind, sent)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, kind: type, sent: bool) -> Schema:
        every = fields_of(kind)
        found: Schema = {"type": "object", "description": _summary(kind), "properties": {}}
        for field in every:
            shown = self.schema(field.type, field.about, sent=sent)
            default = _default(kind, field.name) if sent else None
            found["properties"][field.name] = {**shown, "default": default} if default is not None else shown
        required = [field.name for field in every if field.required or not sent]
        if required:
            found["required"] = required
        if sent:
            found["additionalProperties"] = False
        return found


def _default(kind: type, name: str) -> Any:
    field = next(each for each in dataclasses.fields(kind) if each.name == name)
    value = field.default
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, str | int | float) else None


def _nullable(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    about: Schema = {name: schema[name] for name in ("description", "deprecated") if name in schema}
    rest = {name: value for name, value in schema.items() if name not in about}
    return {**about, "anyOf": [rest, {"type": "null"}]}


def _summary(kind: type) -> str:
    """The first paragraph of the docstring, without the markup of code."""
    text = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    return " ".join(text.replace("``", "`").split())
