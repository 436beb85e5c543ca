"""Upload policies by name: what may be uploaded, and what is done to it."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.media.policy import DEFAULT, UploadPolicy
from dashboard.models.sharing import UploadPolicyRow
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.permissions import Actor, Permission

DEFAULT_NAME = "default"
MAX_POLICIES = 200
MAX_TOML_BYTES = 256 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class UploadPolicies:
    """Thread-safe. The policy “default” always exists: until it is saved, its fields have their defaults."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def get(self, name: str) -> UploadPolicy:
        """The policy with this name; empty for the default. Raises ``NOT_FOUND``."""
        name = name or DEFAULT_NAME
        with self._database.read() as session:
            row = _find(session, name)
            if row is not None:
                return UploadPolicy.from_dict(row.policy)
        if name != DEFAULT_NAME:
            raise _unknown(name)
        return DEFAULT

    def get_or_default(self, name: str) -> UploadPolicy:
        """The policy with this name, or the default if it has been removed."""
        try:
            return self.get(name)
        except StowageError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return self.get("")

    def list(self) -> Mapping[str, UploadPolicy]:
        """All of them by name, the default first."""
        with self._database.read() as session:
            rows = session.scalars(select(UploadPolicyRow).order_by(UploadPolicyRow.name)).all()
        found = {DEFAULT_NAME: DEFAULT}
        return found | {row.name: UploadPolicy.from_dict(row.policy) for row in rows}

    def save(self, actor: Actor, name: str, policy: UploadPolicy, *, create: bool = False) -> None:
        """Add or replace a policy. With ``create`` it raises ``InvalidInput`` if the name is taken."""
        actor.require(Permission.CONFIGURE)
        check_policy_name(name)
        with self._database.write() as session:
            if create and (name == DEFAULT_NAME or _find(session, name) is not None):
                raise InvalidInput(
                    "name", f"There is already a policy “{name}”.", remedy="Choose another name."
                )
            self._write(session, actor, name, policy)

    def remove(self, actor: Actor, name: str) -> None:
        """Remove a policy; its unfinished uploads get the default. Raises ``NOT_FOUND``. Of the default, only
        its changes are removed."""
        actor.require(Permission.CONFIGURE)
        with self._database.write() as session:
            row = _find(session, name)
            if row is None:
                if name == DEFAULT_NAME:
                    return
                raise _unknown(name)
            session.delete(row)
            self._audit.record(session, actor, "upload_policy.remove", name)

    def as_toml(self) -> str:
        """All policies as TOML, a table for each."""
        return "\n".join(
            f"[{name}]\n"
            + "".join(f"{field} = {_toml(value)}\n" for field, value in policy.as_dict().items())
            for name, policy in self.list().items()
        )

    def load_toml(self, actor: Actor, text: str) -> tuple[str, ...]:
        """Add or replace the policies of a TOML document, all or none; returns their names. Policies that it
        does not name stay as they are. Raises ``InvalidInput``."""
        actor.require(Permission.CONFIGURE)
        read: dict[str, UploadPolicy] = {}
        for name, values in _tables(text).items():
            check_policy_name(name)
            try:
                read[name] = UploadPolicy.from_dict(values)
            except InvalidInput as error:
                raise InvalidInput(
                    f"{name}.{error.subject}", f"In the policy “{name}”: {error.reason}", remedy=error.remedy
                ) from error
        with self._database.write() as session:
            for name, policy in read.items():
                self._write(session, actor, name, policy)
        return tuple(read)

    def _write(self, session: Session, actor: Actor, name: str, policy: UploadPolicy) -> None:
        row = _find(session, name)
        values = policy.as_dict()
        if row is not None and row.policy == values:
            return
        if row is None:
            if len(session.scalars(select(UploadPolicyRow.name)).all()) >= MAX_POLICIES:
                raise InvalidInput("name", f"There are {MAX_POLICIES} policies; there may be no more.")
            row = UploadPolicyRow(name=name)
            session.add(row)
        before = row.policy or DEFAULT.as_dict()
        row.policy, row.updated_by, row.updated_at = values, actor.name, time.time()
        changed = {field: _toml(value) for field, value in values.items() if before.get(field) != value}
        former = {f"before.{field}": _toml(before.get(field)) for field in changed}
        self._audit.record(session, actor, "upload_policy.save", name, **changed, **former)


def check_policy_name(name: str) -> None:
    """Raise ``InvalidInput`` for a name that a policy cannot have."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "name",
            "This name cannot be used.",
            remedy="Use up to 63 lower-case letters, digits and hyphens.",
        )


def _find(session: Session, name: str) -> UploadPolicyRow | None:
    return session.get(UploadPolicyRow, name) if _NAME.fullmatch(name) else None


def _unknown(name: str) -> StowageError:
    return StowageError(
        Kind.NOT_FOUND,
        f"There is no upload policy “{name[:63]}”.",
        operation="upload policy",
        subject=name[:63],
        remedy="The policies are listed under Settings.",
    )


def _tables(text: str) -> Mapping[str, Mapping[str, Any]]:
    if len(text.encode("utf-8", "replace")) > MAX_TOML_BYTES:
        raise InvalidInput("toml", f"The document is larger than {MAX_TOML_BYTES:,} bytes.")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput(
            "toml", f"This is not TOML: {error}.", remedy="Correct it and try again."
        ) from error
    for name, values in document.items():
        if not isinstance(values, dict):
            raise InvalidInput("toml", f"“{name}” is no policy.", remedy="Write a table for each: [photos].")
    return document


def _toml(value: object) -> str:
    """A value of a policy: numbers, texts without quotes and control characters, lists of texts, booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return str(value) if isinstance(value, int) else f'"{value}"'
