"""What the models and statements, which are written once, mean on PostgreSQL.

They keep what SQLite promises: texts of any length in the order of their bytes, comparisons with ``LIKE``
that ignore the case of ASCII letters, integers of 64 bits, JSON as the very text that was written. So a row
has the same values in both, digest for digest, and every search the same answers. See decision 071.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Index, cast
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler, PGTypeCompiler
from sqlalchemy.dialects.postgresql.psycopg import PGCompiler_psycopg, PGDialect_psycopg
from sqlalchemy.schema import Column
from sqlalchemy.sql import sqltypes
from sqlalchemy.sql.elements import BinaryExpression, BindParameter
from sqlalchemy.sql.functions import Function

from dashboard.models.work import KeyBytes
from dashboard.services.postgresql.texts import ESCAPED, StoredText

JSON_UNREADABLE = (
    r"\\u0000|\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
"""What JSON may hold and PostgreSQL's functions for it reject: NUL and halves of surrogate pairs."""


class StatementCompiler(PGCompiler_psycopg):
    """Statements: functions and operators of SQLite by their names here."""

    def visit_like_op_binary(self, binary: BinaryExpression[Any], operator: Any, **kw: Any) -> str:
        """``LIKE`` of SQLite: without regard to the case of ASCII letters."""
        return str(self.visit_ilike_op_binary(binary, operator, **kw))  # type: ignore[no-untyped-call]

    def visit_not_like_op_binary(self, binary: BinaryExpression[Any], operator: Any, **kw: Any) -> str:
        """Likewise."""
        return str(self.visit_not_ilike_op_binary(binary, operator, **kw))  # type: ignore[no-untyped-call]

    def visit_custom_op_unary_operator(self, element: Any, operator: Any, **kw: Any) -> str:
        """The plus that keeps SQLite from choosing another index. It says nothing here."""
        if operator.opstring.strip() == "+":
            return self.process(element.element, **kw)
        return str(super().visit_custom_op_unary_operator(element, operator, **kw))  # type: ignore[no-untyped-call]

    def visit_min_func(self, func: Function[Any], **kw: Any) -> str:
        """With several arguments, the least of them."""
        return f"{'least' if len(func.clauses) > 1 else 'min'}{self.function_argspec(func, **kw)}"

    def visit_max_func(self, func: Function[Any], **kw: Any) -> str:
        """With several arguments, the greatest of them."""
        return f"{'greatest' if len(func.clauses) > 1 else 'max'}{self.function_argspec(func, **kw)}"

    def _on_conflict_target(self, clause: Any, **kw: Any) -> str:
        """The clause may be SQLite's, which names no constraint."""
        if not hasattr(clause, "constraint_target"):
            clause.constraint_target = None
        return str(super()._on_conflict_target(clause, **kw))  # type: ignore[no-untyped-call]

    def visit_json_extract_func(self, func: Function[Any], **kw: Any) -> str:
        """The text at a path such as ``$.prefix``."""
        document, path = func.clauses
        assert isinstance(path, BindParameter)
        names = str(path.value).removeprefix("$.").split(".")
        assert all(name.isidentifier() for name in names)
        return f"({self._json(document, **kw)} #>> '{{{','.join(names)}}}')"

    def visit_json_each_func(self, func: Function[Any], **kw: Any) -> str:
        """The members of an object, as text."""
        (document,) = func.clauses
        return f"json_each_text({self._json(document, **kw)})"

    def visit_json_getitem_op_binary(
        self, binary: BinaryExpression[Any], operator: Any, _cast_applied: bool = False, **kw: Any
    ) -> str:
        """A member: as text, or as the truth value or number that the statement takes it for."""
        taken_for = binary.type
        if not _cast_applied and isinstance(
            taken_for, sqltypes.Boolean | sqltypes.Numeric | sqltypes.Integer
        ):
            return self.process(cast(binary, taken_for), _cast_applied=True, **kw)
        return f"({self._json(binary.left, **kw)} ->> {self.process(binary.right, **kw)})"

    def _json(self, document: Any, **kw: Any) -> str:
        stored = self.process(document, **kw)
        # ``(?`` and ``%`` are as written: the statement is compiled, not formatted.
        return rf"CAST(regexp_replace({stored}, '{JSON_UNREADABLE}', '\ufffd', 'g') AS json)"


class SchemaCompiler(PGDDLCompiler):
    """Tables and indexes."""

    def get_column_specification(self, column: Column[Any], **kwargs: Any) -> str:
        """With numbers of 64 bits that are never reused, and texts in the order of their bytes."""
        text = str(super().get_column_specification(column, **kwargs))  # type: ignore[no-untyped-call]
        text = text.replace(" SERIAL", " BIGSERIAL", 1)
        kind = column.type.dialect_impl(self.dialect)
        if isinstance(kind, sqltypes.TypeDecorator):
            kind = kind.impl_instance
        if isinstance(kind, sqltypes.String | sqltypes.JSON):
            text = text.replace(" TEXT", ' TEXT COLLATE "C"', 1)
        return text

    def get_column_default_string(self, column: Column[Any]) -> str | None:
        """The models write a truth value as SQLite does."""
        default: str | None = super().get_column_default_string(column)
        if isinstance(column.type, sqltypes.Boolean):
            return {"0": "false", "1": "true"}.get(default or "", default)
        return default

    def visit_create_index(self, create: Any, *flags: Any, **kw: Any) -> str:
        """A partial index of SQLite is one here too."""
        index = create.element
        assert isinstance(index, Index)
        options = index.dialect_options["postgresql"]
        if options["where"] is None:
            options["where"] = index.dialect_options["sqlite"]["where"]
        return str(super().visit_create_index(create, *flags, **kw))  # type: ignore[no-untyped-call]


class TypeCompiler(PGTypeCompiler):
    """Types of columns and of casts."""

    def visit_INTEGER(self, type_: Any, **kw: Any) -> str:
        """As large as SQLite's."""
        return "BIGINT"

    def visit_VARCHAR(self, type_: Any, **kw: Any) -> str:
        """Lengths are what the program checks; SQLite never did."""
        return "TEXT"

    def visit_JSON(self, type_: Any, **kw: Any) -> str:
        """The text as it was written: the codes of the audit log are computed over it."""
        return "TEXT"


class _KeyBytes(KeyBytes):
    """Names that are no text, in comparisons: as they are stored."""

    def bind_processor(self, dialect: Any) -> Callable[[bytes | None], StoredText | None]:
        """Return what makes the stored form of bytes."""
        return lambda raw: None if raw is None else StoredText(ESCAPED + raw.hex())


class StowageDialect(PGDialect_psycopg):
    """SQLAlchemy's for psycopg 3, with the above."""

    driver = "stowage"
    supports_statement_cache = True
    supports_native_json_serialization = False
    supports_native_json_deserialization = False
    statement_compiler = StatementCompiler
    ddl_compiler = SchemaCompiler
    type_compiler_cls = TypeCompiler
    colspecs = {  # as the base class has it
        kind: ours
        for kind, ours in PGDialect_psycopg.colspecs.items()
        if not issubclass(kind, sqltypes.JSON | sqltypes.JSON.JSONPathType)
    } | {KeyBytes: _KeyBytes}
