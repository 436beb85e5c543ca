"""Conditions for keys that mean the same in every database, also for keys that are no text.

SQLite stores such a key as bytes, which become comparable when they are cast. PostgreSQL stores their digits:
``services/postgresql/texts.py``.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Boolean, ColumnElement, String, cast, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from dashboard.models.work import KeyBytes, KeyText


class _Contains(FunctionElement[bool]):
    """Of a key, a pattern of LIKE, and one for its bytes, in which all but ASCII is written in octal."""

    type = Boolean()
    inherit_cache = True


class _Begins(FunctionElement[bool]):
    """Of a key, a pattern of GLOB for it, its begin, and the begin's bytes."""

    type = Boolean()
    inherit_cache = True


def contains(key: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Whether a key contains a text, without regard to the case of ASCII letters."""
    raw = text.encode("utf-8", "surrogatepass")
    octal = "".join(f"\\{byte:03o}" if not byte or byte > 0x7F else chr(byte) for byte in _doubled(raw))
    return _Contains(key, literal(_pattern(text), KeyText()), literal(_pattern(octal), String()))


def begins_with(key: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Whether a key begins with a text."""
    glob = re.sub(r"([*?\[])", r"[\1]", text) + "*"
    raw = text.encode("utf-8", "surrogatepass")
    return _Begins(key, literal(glob, KeyText()), literal(text, KeyText()), literal(raw, KeyBytes()))


def _doubled(raw: bytes) -> bytes:
    return raw.replace(b"\\", b"\\\\")


def _pattern(text: str) -> str:
    return "%" + re.sub(r"([%_\\])", r"\\\1", text) + "%"


@compiles(_Contains)
def _contains(element: _Contains, compiler: Any, **kw: Any) -> str:
    key, pattern, _ = element.clauses
    return str(compiler.process(cast(key, String).like(cast(pattern, String), escape="\\"), **kw))


@compiles(_Begins)
def _begins(element: _Begins, compiler: Any, **kw: Any) -> str:
    key, pattern, _, _ = element.clauses
    return str(compiler.process(cast(key, String).op("GLOB")(cast(pattern, String)), **kw))


@compiles(_Contains, "postgresql")
def _contains_postgresql(element: _Contains, compiler: Any, **kw: Any) -> str:
    key, pattern, octal = (compiler.process(each, **kw) for each in element.clauses)
    raw = f"encode(decode(substr({key}, 2), 'hex'), 'escape')"
    return (
        f"CASE WHEN starts_with({key}, U&'\\+10FFFF') THEN {raw} ILIKE {octal} ESCAPE '\\' "
        f"ELSE {key} ILIKE {pattern} ESCAPE '\\' END"
    )


@compiles(_Begins, "postgresql")
def _begins_postgresql(element: _Begins, compiler: Any, **kw: Any) -> str:
    key, _, text, raw = (compiler.process(each, **kw) for each in element.clauses)
    return f"(starts_with({key}, {text}) OR starts_with({key}, {raw}))"
