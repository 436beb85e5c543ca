"""The errors of Vercel Blob: kind, reason and remedy of each.

The codes are those of Vercel's own client, ``@vercel/blob``, ``src/api.ts``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.errors import Changed, Row
from dashboard.storage.net import failures
from dashboard.storage.net.failures import REFUSED, ErrorTable, RequestFailure, exists_error


@dataclass(frozen=True, slots=True)
class ErrorContext(failures.ErrorContext):
    """The place is the store."""

    access: str


# Some errors differ only in their message.
_CODES_BY_MESSAGE = (
    ("other_access", re.compile(r"cannot use (public|private) access", re.IGNORECASE)),
    ("file_too_large", re.compile(r"the file length cannot be greater than", re.IGNORECASE)),
)
_CODES_BY_MESSAGE_OF_400 = (
    ("taken", re.compile(r"already exists", re.IGNORECASE)),
    ("bad_name", re.compile(r"pathname", re.IGNORECASE)),
)


def code_of(status: int, code: str, message: str) -> str:
    """The code of an error: Vercel's, or ours for what its message says."""
    codes = _CODES_BY_MESSAGE + _CODES_BY_MESSAGE_OF_400 if status == 400 else _CODES_BY_MESSAGE
    return next((name for name, pattern in codes if pattern.search(message)), code)


_STORE_MISSING = Row(
    Kind.NOT_FOUND,
    "There is no Vercel Blob store “{container}”.",
    "Copy the token again from the project that the store is connected to.",
)
ERRORS = ErrorTable[RequestFailure, ErrorContext](
    speaks="Vercel Blob",
    container_missing=_STORE_MISSING,
    rules={
        "forbidden": Row(
            Kind.BAD_CREDENTIALS,
            "Vercel does not accept this token.",
            "Copy BLOB_READ_WRITE_TOKEN again from the project's environment variables. It may have been "
            "replaced.",
        ),
        "store_suspended": Row(
            Kind.DENIED,
            "Vercel has suspended the store “{container}”.",
            "Check the store in the Vercel dashboard, under Storage.",
        ),
        "other_access": Row(
            Kind.DENIED,
            "The store “{container}” is not {access}.",
            "Change “Access of the store”. A store is either public or private.",
        ),
        "content_type_not_allowed": Row(Kind.DENIED, "Vercel does not allow this content type for “{key}”."),
        "file_too_large": Row(Kind.TOO_LARGE, "“{key}” is larger than Vercel Blob accepts."),
        "rate_limited": Row(
            Kind.THROTTLED, "Vercel is throttling requests.", "Use fewer workers, or try later."
        ),
        "service_unavailable": Row(
            Kind.THROTTLED, "Vercel Blob is temporarily unavailable.", "Try again in a moment."
        ),
        "store_not_found": _STORE_MISSING,
        "taken": exists_error,
        "bad_name": Row(Kind.INVALID_KEY, "Vercel Blob cannot store the key “{key}”."),
        404: lambda failure, context: None if context.key and context.operation != "write" else REFUSED,
        # An existing blob is only reported in the message, see above.
        412: lambda failure, context: Changed(context.key, operation=context.operation),
    },
    aliases={
        401: "forbidden",
        403: "forbidden",
        413: "file_too_large",
        429: "rate_limited",
        503: "service_unavailable",
    },
)

translate = ERRORS.translate
