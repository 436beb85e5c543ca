"""What a form held whose CSRF token has expired, so that nobody types it twice."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, request
from flask_wtf.csrf import validate_csrf
from wtforms import ValidationError

TOKEN = "csrf_token"
SECRET_FIELDS = frozenset({"password", "password_again", "current", "code", "recovery_key"})
SECRET_PREFIX = "secret."
"""Fields that are never sent back to a browser; option secrets of a backend form share the prefix."""

_MOST_FIELDS = 100
_MOST_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class KeptForm:
    """A form to offer again: where it goes, what it held, and whether a secret has to be typed again."""

    action: str
    fields: tuple[tuple[str, str], ...]
    secret_left_out: bool


def kept_form() -> KeptForm | None:
    """The form just sent, if its token is ours and merely old; None for a form that came from elsewhere.

    A token of another session or a forged one proves nothing about who wrote the form, so such a form
    is never turned into a page with one button.
    """
    try:
        validate_csrf(request.form.get(TOKEN), time_limit=current_app.config["WTF_CSRF_RESEND_LIMIT"])
    except ValidationError:
        return None
    every = [(name, value) for name, value in request.form.items(multi=True) if name != TOKEN]
    plain = tuple((name, value) for name, value in every if not is_secret(name))
    if len(plain) > _MOST_FIELDS or sum(len(value) for _, value in plain) > _MOST_CHARACTERS:
        return None
    return KeptForm(request.path, plain, len(plain) != len(every))


def is_secret(name: str) -> bool:
    """Whether a field of this name holds something that is only ever written."""
    return name in SECRET_FIELDS or name.startswith(SECRET_PREFIX)
