"""Time-based one-time codes (RFC 6238: SHA-1, six digits, thirty seconds), and recovery codes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from urllib.parse import quote, urlencode

STEP_SECONDS = 30
DIGITS = 6
DRIFT_STEPS = 1
"""Steps by which a phone's clock may be wrong, in both directions (RFC 6238, 5.2)."""
SECRET_BYTES = 20
RECOVERY_CODES = 10
RECOVERY_BYTES = 10


def new_secret() -> str:
    """160 random bits in base32, as authenticator apps take them."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def code_at(secret: str, step: int) -> str:
    """The code of a step (RFC 4226, 5.3)."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: str, code: str, *, now: float, after: int) -> int | None:
    """The step whose code this is, or None. Only steps later than ``after``: no code is accepted twice, nor
    an older one after it."""
    typed = re.sub(r"\s", "", code)
    current, found = int(now // STEP_SECONDS), None
    # All are compared, so that the time taken says nothing.
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        right = hmac.compare_digest(code_at(secret, max(step, 0)).encode(), typed.encode("utf-8", "replace"))
        if right and step > after:
            found = step
    return found


def provisioning_uri(secret: str, account: str, issuer: str) -> str:
    """The address that authenticator apps read from a QR code."""
    label = f"{quote(issuer)}:{quote(account)}"
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer}, quote_via=quote)}"


def new_recovery_codes() -> tuple[str, ...]:
    """Ten codes of 80 random bits, in groups that can be read aloud."""
    codes = (
        base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)
    )
    return tuple("-".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in codes)


def recovery_digest(code: str) -> str:
    """What is stored of a recovery code; blanks, hyphens and case do not matter. 80 random bits need no slow
    hash."""
    plain = re.sub(r"[\s-]", "", code).lower()
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
