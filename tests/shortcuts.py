"""What spares the tests of this process work that they do not look at; programs start as users' do."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Connection, Engine, MetaData, event

from dashboard.models.every_table import METADATA
from dashboard.services import database, engines
from dashboard.services.migrations.carrying import machine
from dashboard.services.people import passwords

PRAGMAS = engines.PRAGMAS
"""As every console sets them."""
# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def give_memory_back() -> None:
    """Have glibc return what is large when it is freed. By itself it learns from the first large body to keep
    such blocks, in as many pools as there were threads, and half a gigabyte of holes stays to the end."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 20)
        mallopt(_TRIM_THRESHOLD, 16 << 20)
        mallopt(_ARENA_MAX, 2)


@contextmanager
def taken() -> Iterator[None]:
    """Take all of them."""
    with pytest.MonkeyPatch.context() as patch:
        _hash_cheaply(patch)
        _leave_writing_to_the_system(patch)
        _compile_statements_once(patch)
        _compile_templates_once(patch)
        _copy_in_this_process(patch)
        for metadata in METADATA.values():
            _describe_tables_once(patch, metadata)
        yield


def _hash_cheaply(patch: pytest.MonkeyPatch) -> None:
    """A real hash takes 64 MiB and a tenth of a second of all processors; what is tested does not depend on
    its cost."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    patch.setattr(passwords, "PasswordHasher", lambda: quick)


def _leave_writing_to_the_system(patch: pytest.MonkeyPatch) -> None:
    """No test cuts the power of its own process; those that kill start another."""
    relaxed = tuple("synchronous=OFF" if each.startswith("synchronous=") else each for each in PRAGMAS)
    assert relaxed != PRAGMAS
    patch.setattr(engines, "PRAGMAS", relaxed)


def _compile_statements_once(patch: pytest.MonkeyPatch) -> None:
    """Each test opens databases of its own, and SQLAlchemy would translate every statement again for each."""
    prepare, shared = database.prepare, list[Engine]()

    def prepared(engine: Engine) -> None:
        prepare(engine)
        # A dialect on a server knows what that server said, and one that never connected knows nothing.
        if engine.dialect.name != "sqlite":
            return
        if not shared:
            shared.append(engine)
        elif hasattr(shared[0].dialect, "default_isolation_level"):
            engine.dialect = shared[0].dialect
            engine._compiled_cache = shared[0]._compiled_cache

    patch.setattr(database, "prepare", prepared)


def _describe_tables_once(patch: pytest.MonkeyPatch, metadata: MetaData) -> None:
    """Making SQL out of 60 tables and indexes takes longer than most tests; the SQL is always the same."""
    create_all, made = metadata.create_all, dict[str, list[str]]()

    def replay(bind: Engine | Connection) -> None:
        if isinstance(bind, Engine):
            with bind.begin() as connection:
                replay(connection)
            return
        connection = bind
        dialect = connection.dialect.name
        if dialect in made:
            for statement in made[dialect]:
                connection.exec_driver_sql(statement)
            return
        said: list[str] = []

        def note(_connection: Connection, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
            if not statement.startswith(("PRAGMA", "SELECT")):
                assert not parameters
                said.append(statement)

        event.listen(connection, "before_cursor_execute", note)
        create_all(connection)
        event.remove(connection, "before_cursor_execute", note)
        made[dialect] = said

    patch.setattr(metadata, "create_all", replay)


def _copy_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Tests break drivers in their own process, which others would not notice."""
    patch.setattr(machine, "WINDOW_SECONDS", math.inf)


def _compile_templates_once(patch: pytest.MonkeyPatch) -> None:
    """Every application has an environment of its own, of the same templates."""
    patch.setitem(Flask.jinja_options, "bytecode_cache", _InMemory())


class _InMemory(BytecodeCache):
    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()
