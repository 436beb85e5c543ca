"""What programs send, read strictly: bounded, of the declared types, and no name that is not declared."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args, get_origin
from urllib.parse import parse_qsl, quote

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from dashboard.errors import InvalidInput
from dashboard.services.database import MAX_INTEGER
from dashboard.storage.errors import InvalidKey
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Secret
from dashboard.web.api.schemas import Field, FieldType, fields_of, optional

T = TypeVar("T")

MAX_JSON_BYTES = 512 * 1024
_MAX_FIELDS = 1000
_DIGITS = len(str(MAX_INTEGER))


def read_json(kind: type[T]) -> T:
    """The request's JSON body as a dataclass. No body at all means ``{}``.

    Raises ``InvalidInput`` naming the field, 413 beyond ``MAX_JSON_BYTES``, 415 for other content.
    """
    request.max_content_length = MAX_JSON_BYTES
    raw = request.get_data(cache=False)
    if raw and request.mimetype != "application/json":
        raise UnsupportedMediaType
    found = _loads(raw) if raw else {}
    if not isinstance(found, dict):
        raise InvalidInput("body", "The body must be a JSON object.")
    return to_value(kind, found)


def to_value(kind: type[T], found: Mapping[str, object], path: str = "") -> T:
    """A dataclass from an object of JSON. Raises ``InvalidInput`` naming the field."""
    fields = {field.name: field for field in fields_of(cast("Any", kind))}
    for name in found:
        if name not in fields:
            raise InvalidInput(
                _subject(path, name),
                f"There is no field “{_subject(path, name)}” here.",
                remedy=f"The fields are {', '.join(fields)}." if fields else "",
            )
    values: dict[str, Any] = {}
    for field in fields.values():
        where = _subject(path, field.name)
        if field.name in found:
            values[field.name] = _value(field.type, found[field.name], field.about, where)
        elif field.required:
            raise InvalidInput(where, f"“{where}” is missing.")
    return kind(**values)


def read_query(kind: type[T]) -> T:
    """The request's query string as a dataclass of strings, whole numbers, booleans, choices and lists of
    these (a name given several times). Raises ``InvalidInput`` naming the parameter."""
    fields = {field.name: field for field in fields_of(cast("Any", kind))}
    values: dict[str, Any] = {}
    given = _arguments()
    for name in given:
        if name not in fields:
            raise InvalidInput(
                _shown(name),
                f"There is no parameter “{_shown(name)}” here.",
                remedy=f"The parameters are {', '.join(fields)}." if fields else "",
            )
        values[name] = _parameter(fields[name], given[name])
    for field in fields.values():
        if field.required and field.name not in values:
            raise InvalidInput(field.name, f"“{field.name}” is missing.")
    return kind(**values)


def _arguments() -> dict[str, list[str]]:
    """The query string by name. Bytes that are no UTF-8 become lone surrogates, because keys of objects may
    hold them; werkzeug would make other characters of them."""
    raw = quote(request.query_string, safe=string.printable)
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(
        raw, keep_blank_values=True, encoding="utf-8", errors="surrogateescape", max_num_fields=_MAX_FIELDS
    ):
        found.setdefault(name, []).append(value)
    return found


def _parameter(field: FieldType, texts: list[str]) -> Any:
    kind = optional(field.type) or field.type
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return _value(kind, [_typed(inner, text, field.name) for text in texts], field.about, field.name)
    if len(texts) > 1:
        raise InvalidInput(field.name, f"“{field.name}” is given more than once.")
    return _value(kind, _typed(kind, texts[0], field.name), field.about, field.name)


def _typed(kind: Any, text: str, name: str) -> object:
    if kind is bool:
        if text not in ("true", "false"):
            raise InvalidInput(name, f"“{name}” must be true or false.")
        return text == "true"
    if kind is int:
        if not re.fullmatch(rf"-?[0-9]{{1,{_DIGITS}}}", text):
            raise InvalidInput(name, f"“{name}” must be a whole number.")
        return int(text)
    return text


def _loads(raw: bytes) -> object:
    try:
        return json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidInput(
            "body", "The body is not valid JSON.", remedy="Send UTF-8 without a BOM."
        ) from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _value(kind: Any, found: object, about: Field, where: str) -> Any:
    inner = optional(kind)
    if inner is not None:
        return None if found is None else _value(inner, found, about, where)
    reader = _READERS.get(get_origin(kind) or kind)
    if reader is None:
        reader = _choice if issubclass(kind, Enum) else _object
    return reader(kind, found, about, where)


def _object(kind: Any, found: object, about: Field, where: str) -> Any:
    if not isinstance(found, dict):
        raise InvalidInput(where, f"“{where}” must be an object.")
    return to_value(kind, found, where)


def _items(kind: Any, found: object, about: Field, where: str) -> tuple[Any, ...]:
    if not isinstance(found, list):
        raise InvalidInput(where, f"“{where}” must be a list.")
    _check_number(len(found), about, where)
    inner, each = get_args(kind)[0], Field(maximum_length=about.maximum_length)
    return tuple(_value(inner, item, each, f"{where}[{number}]") for number, item in enumerate(found))


def _mapping(kind: Any, found: object, about: Field, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InvalidInput(where, f"“{where}” must be an object.")
    _check_number(len(found), about, where)
    inner, each = get_args(kind)[1], Field(maximum_length=about.maximum_length)
    return {
        _text(str, name, Field(), where): _value(inner, item, each, _subject(where, name))
        for name, item in found.items()
    }


def _check_number(number: int, about: Field, where: str) -> None:
    if about.maximum_items is not None and number > about.maximum_items:
        raise InvalidInput(where, f"“{where}” holds more than {about.maximum_items} entries.")


def _secret(kind: Any, found: object, about: Field, where: str) -> Secret:
    return Secret(_text(str, found, about, where))


def _text(kind: Any, found: object, about: Field, where: str) -> str:
    if not isinstance(found, str):
        raise InvalidInput(where, f"“{where}” must be text.")
    if about.maximum_length is not None and len(found) > about.maximum_length:
        raise InvalidInput(where, f"“{where}” is longer than {about.maximum_length} characters.")
    try:
        if about.key:
            key_bytes(found)
        else:
            found.encode()
    except (UnicodeEncodeError, InvalidKey):
        raise InvalidInput(where, f"“{where}” holds characters that are no text.") from None
    if about.pattern is not None and not re.fullmatch(about.pattern, found):
        raise InvalidInput(where, f"“{where}” does not have the form that it must have: {about.pattern}")
    return found


def _boolean(kind: Any, found: object, about: Field, where: str) -> bool:
    if not isinstance(found, bool):
        raise InvalidInput(where, f"“{where}” must be true or false.")
    return found


def _number(kind: Any, found: object, about: Field, where: str) -> int | float:
    if isinstance(found, bool) or not isinstance(found, int if kind is int else int | float):
        raise InvalidInput(where, f"“{where}” must be a {'whole ' if kind is int else ''}number.")
    low = about.minimum if about.minimum is not None else -MAX_INTEGER
    high = about.maximum if about.maximum is not None else MAX_INTEGER
    if not low <= found <= high:
        raise InvalidInput(where, f"“{where}” must be between {low} and {high}.")
    return float(found) if kind is float else found


def _choice(kind: Any, found: object, about: Field, where: str) -> Enum:
    choices: dict[str, Enum] = {each.value: each for each in kind}
    if not isinstance(found, str) or found not in choices:
        raise InvalidInput(where, f"“{where}” must be one of {', '.join(choices)}.")
    return choices[found]


def _literal(kind: Any, found: object, about: Field, where: str) -> str:
    choices: tuple[str, ...] = get_args(kind)
    if not isinstance(found, str) or found not in choices:
        raise InvalidInput(where, f"“{where}” must be one of {', '.join(each or '“”' for each in choices)}.")
    return found


_READERS: dict[Any, Callable[[Any, object, Field, str], Any]] = {
    Literal: _literal,
    tuple: _items,
    Sequence: _items,
    Mapping: _mapping,
    Secret: _secret,
    str: _text,
    bool: _boolean,
    int: _number,
    float: _number,
}


def _subject(path: str, name: str) -> str:
    return f"{path}.{_shown(name)}" if path else _shown(name)


def _shown(name: str) -> str:
    return name[:100].encode("utf-8", "replace").decode()
