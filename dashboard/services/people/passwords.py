"""Which passwords and usernames are accepted, and how passwords are hashed."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dashboard.errors import InvalidInput, TooMany
from dashboard.storage.types import Secret

MIN_LENGTH = 10
MAX_LENGTH = 1024
USERNAME = re.compile(r"[a-z0-9._-]{1,64}")

_COMMON_TEXT = """
0123456789 0987654321 1029384756 1111111111 1122334455 123123123123 1234512345 1234567890 12345678910
1234567891 123456789a 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc abcdefghij abcdefghijk administrator
asdfghjkl1 changeme123 changemenow dragon1234 football123 iloveyou12 iloveyou123 letmein123 letmein1234
password01 password10 password11 password12 password123 password1234 passwordpassword princess123
q1w2e3r4t5 q1w2e3r4t5y6 qazwsxedcrfv qwerty1234 qwerty12345 qwerty123456 qwertyuiop qwertyuiop1
qwertyuiop123 stowage123 stowage1234 stowagestowage superman123 sunshine123 trustno1trustno1 welcome123
welcome1234 zaq12wsxcde3
"""
COMMON = frozenset(_COMMON_TEXT.split())

# One hash takes 64 MiB and a tenth of a second: a burst of sign-ins must queue rather than fill the memory,
# and the queue must be short, because everybody in it keeps a thread of the web server.
MAX_PARALLEL_HASHES = 2
MAX_QUEUED = 8
MAX_ANONYMOUS_QUEUED = 6
MAX_PER_ADDRESS = 4


class HashingQueue:
    """Bounds how many hash at once and how many wait; refuses all others. Thread-safe; a thread that has a
    slot may acquire it again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(MAX_PARALLEL_HASHES)
        self._inside: Counter[str | None] = Counter()
        self._mine = threading.local()

    @contextmanager
    def slot(self, address: str | None = None) -> Iterator[None]:
        """Wait for a slot and hold it. ``address``: where an anonymous attempt comes from; None for people
        who are signed in and for the command line, for whom some of the queue is reserved. Raises
        ``THROTTLED``."""
        if getattr(self._mine, "held", False):
            yield
            return
        self._enter(address)
        try:
            with self._slots:
                self._mine.held = True
                try:
                    yield
                finally:
                    self._mine.held = False
        finally:
            with self._lock:
                self._inside[address] -= 1

    def _enter(self, address: str | None) -> None:
        with self._lock:
            every = self._inside.total()
            full = every >= MAX_QUEUED
            if address is not None:
                strangers = every - self._inside[None]
                full = full or strangers >= MAX_ANONYMOUS_QUEUED
                full = full or self._inside[address] >= MAX_PER_ADDRESS
            if full:
                raise TooMany(
                    "Too many people are signing in at this moment.",
                    operation="sign in",
                    remedy="Try again in a few seconds.",
                    retry_after=2,
                )
            self._inside[address] += 1


_QUEUE = HashingQueue()
"""One for the whole process, like its memory."""


class Passwords:
    """argon2id (RFC 9106, second recommended option) with a bounded number of hashes at once. Thread-safe."""

    def __init__(self, hasher: PasswordHasher | None = None, queue: HashingQueue = _QUEUE) -> None:
        self._hasher = hasher or PasswordHasher()
        self.slot = queue.slot

    @cached_property
    def _dummy_hash(self) -> str:
        # Computed at the first sign-in: most commands never need it.
        return self._hasher.hash("no one has this password")

    def hash(self, password: Secret) -> str:
        """Return a new salted hash. Raises ``THROTTLED`` if too many are waiting for one."""
        with self.slot():
            return self._hasher.hash(_bytes(password))

    def verify(self, stored: str | None, password: Secret) -> bool:
        """Whether the password is right. Takes as long if there is no such account (``None``)."""
        try:
            with self.slot():
                matches = self._hasher.verify(stored or self._dummy_hash, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False
        return matches and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)


def to_secret(password: Secret | str) -> Secret:
    """Return the password in a type that does not print it."""
    return password if isinstance(password, Secret) else Secret(password)


def check_username(username: str) -> str:
    """A username as stored. Raises ``InvalidInput``."""
    if not USERNAME.fullmatch(username):
        raise InvalidInput(
            "username",
            "A user name has letters, digits, dots, hyphens and underscores, at most 64 and no spaces.",
            remedy=f"For example: {suggested_username(username) or 'ann.smith'}",
        )
    return username


def suggested_username(text: str) -> str:
    """The user name nearest to what somebody typed, such as “ann.smith” for “Ann Smith”; may be empty."""
    plain = unicodedata.normalize("NFKD", text[:200]).lower()
    letters = "".join("." if c.isspace() else c for c in plain if c.isspace() or USERNAME.fullmatch(c))
    return re.sub(r"\.{2,}", ".", letters).strip(".")[:64]


def check_password(password: Secret, username: str) -> None:
    """Raise ``InvalidInput`` for a password that would be guessed, or that cannot be hashed."""
    plain = password.reveal()
    if len(plain) < MIN_LENGTH:
        raise _password_error(f"The password is too short: it needs at least {MIN_LENGTH} characters.")
    if len(plain) > MAX_LENGTH:
        raise _password_error(f"The password is too long: it may have at most {MAX_LENGTH:,} characters.")
    if any(unicodedata.category(c) in ("Cs", "Cc") for c in plain):
        raise _password_error("The password holds characters that cannot be typed, such as a line break.")
    simple = plain.casefold()
    if simple == username.casefold():
        raise _password_error("The password must not be the username.")
    if simple in COMMON or len(set(simple)) < 3:
        raise _password_error("This password is one of the first that anyone would try.")


def _password_error(reason: str) -> InvalidInput:
    return InvalidInput("password", reason, remedy="A few unrelated words make a good one.")


def _bytes(password: Secret) -> bytes:
    # One person's keyboard composes letters that another's does not (NIST SP 800-63B, 5.1.1.2).
    text = unicodedata.normalize("NFKC", password.reveal()[: MAX_LENGTH + 1])
    return text.encode("utf-8", "surrogatepass")
