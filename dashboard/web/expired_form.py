"""Forms whose CSRF token has expired: what was typed is offered again."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, request
from flask_wtf.csrf import validate_csrf
from wtforms import ValidationError

CSRF_FIELD = "csrf_token"
SECRET_FIELDS = frozenset({"password", "password_again", "current", "code", "recovery_key"})
SECRET_PREFIX = "secret."
"""Fields that are never sent back to a browser; all secrets of a backend form have the prefix."""

_MAX_FIELDS = 100
_MAX_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class ExpiredForm:
    """A form to offer again: its target, its fields, and whether a secret must be entered again."""

    action: str
    fields: tuple[tuple[str, str], ...]
    secret_left_out: bool


def expired_form() -> ExpiredForm | None:
    """Return the submitted form if its token is valid but expired; None for any other form.

    A forged token, or one of another session, proves nothing about who wrote the form, so such a form is
    never turned into a page with one button.
    """
    try:
        validate_csrf(request.form.get(CSRF_FIELD), time_limit=current_app.config["WTF_CSRF_RESEND_LIMIT"])
    except ValidationError:
        return None
    every = [(name, value) for name, value in request.form.items(multi=True) if name != CSRF_FIELD]
    plain = tuple((name, value) for name, value in every if not is_secret(name))
    if len(plain) > _MAX_FIELDS or sum(len(value) for _, value in plain) > _MAX_CHARACTERS:
        return None
    return ExpiredForm(request.path, plain, len(plain) != len(every))


def is_secret(name: str) -> bool:
    """Return whether a field of this name holds a secret."""
    return name in SECRET_FIELDS or name.startswith(SECRET_PREFIX)
