"""How many bytes and objects a second may be copied, by all threads of a process together.

Threads wait in the order in which they came, each on an event of its own; only the first one knows when its
turn is. Nothing is transferred before it was waited for: in no stretch of time does more pass than the limit
and ``BURST_SECONDS`` of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field

BURST_SECONDS = 0.5
"""What was not used may be made up for later, but no more than this much of it."""
CHECK_SECONDS = 0.5
"""How long a thread waits at most until it looks again whether it should stop."""
RECENT_SECONDS = 1.0

_transfer: ContextVar[Callable[[int], None] | None] = ContextVar("transfer", default=None)

Clock = Callable[[], float]
Wait = Callable[[threading.Event, float], object]


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes and objects per second; None for any number."""

    bytes: float | None = None
    objects: float | None = None

    def part(self, of: int) -> Rates:
        """One of this many equal parts."""
        return Rates(*(None if rate is None else rate / of for rate in (self.bytes, self.objects)))


UNLIMITED = Rates()


def transferring(size: int) -> None:
    """Wait until this many bytes may be transferred by this thread; see :meth:`RateLimits.applied`."""
    wait = _transfer.get()
    if wait is not None:
        wait(size)


@dataclass(slots=True, eq=False)
class _Turn:
    amount: float
    comes: threading.Event = field(default_factory=threading.Event)


class TokenBucket:
    """Tokens that come in at a rate and are taken by threads. ``clock`` returns monotonic seconds; if it ever
    goes back, nothing comes in for that time."""

    def __init__(self, *, clock: Clock = time.monotonic, wait: Wait = threading.Event.wait) -> None:
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._level = 1.0
        self._filled_at = clock()
        self._turns: deque[_Turn] = deque()
        self._held_at = float("-inf")

    @property
    def rate(self) -> float | None:
        """Tokens per second; None for any number."""
        return self._rate

    @property
    def holds(self) -> bool:
        """Whether threads wait, or waited a moment ago."""
        return bool(self._turns) or self._clock() - self._held_at < RECENT_SECONDS

    @property
    def waiting(self) -> int:
        """How many threads wait."""
        return len(self._turns)

    def change(self, rate: float | None) -> None:
        """Have this many tokens a second from now on, more than 0, or any number. Those who wait notice at
        once."""
        with self._lock:
            if rate == self._rate:
                return
            self._fill()
            if self._rate is None:
                self._level = 1.0
            self._rate = rate
            # What an earlier, higher rate left unused is not made up for.
            self._level = min(self._level, self._most())
            for turn in self._turns:
                turn.comes.set()

    def take(self, amount: float, check: Callable[[], None]) -> None:
        """Take tokens; wait until they are there, calling ``check`` meanwhile, which may raise to give up.
        Raises nothing else."""
        if self._rate is None or not amount:
            return
        with self._lock:
            self._fill()
            if self._rate is None or (not self._turns and self._level >= amount):
                self._level -= amount
                return
            turn = _Turn(amount)
            self._turns.append(turn)
        try:
            while (seconds := self._try(turn)) > 0:
                check()
                self._wait(turn.comes, min(seconds, CHECK_SECONDS))
        finally:
            self._leave(turn)

    def _try(self, turn: _Turn) -> float:
        """Take what this turn wants if it is its time; return after how many seconds to try again, or 0."""
        with self._lock:
            turn.comes.clear()
            self._fill()
            if self._rate is None:
                return 0.0
            if self._turns[0] is not turn:
                return CHECK_SECONDS
            missing = turn.amount - self._level
            # A clock has its steps: what comes in within a microsecond is there.
            if missing > self._rate * 1e-6:
                return missing / self._rate
            self._level -= turn.amount
            return 0.0

    def _leave(self, turn: _Turn) -> None:
        with self._lock:
            self._turns.remove(turn)
            self._held_at = self._clock()
            if self._turns:
                self._turns[0].comes.set()

    def _fill(self) -> None:
        now = self._clock()
        passed, self._filled_at = max(0.0, now - self._filled_at), now
        if self._rate is not None:
            self._level = min(self._most(), self._level + passed * self._rate)

    def _most(self) -> float:
        rest = BURST_SECONDS * self._rate if self._rate is not None else 1.0
        # What the first one waits for may be more than that.
        return max(rest, 1.0, self._turns[0].amount if self._turns else 0.0)


# Entered for each object, where a generator costs four times as much.
class _Applied:
    __slots__ = ("_bucket", "_check", "_token")

    def __init__(self, bucket: TokenBucket, check: Callable[[], None]) -> None:
        self._bucket = bucket
        self._check = check

    def __enter__(self) -> None:
        self._token: Token[Callable[[int], None] | None] = _transfer.set(self._take)

    def __exit__(self, *_: object) -> None:
        _transfer.reset(self._token)

    def _take(self, size: int) -> None:
        self._bucket.take(size, self._check)


class RateLimits:
    """The limits of one run in one process. Thread-safe; without a limit nothing waits."""

    def __init__(self, *, clock: Clock = time.monotonic, wait: Wait = threading.Event.wait) -> None:
        self._bytes = TokenBucket(clock=clock, wait=wait)
        self._objects = TokenBucket(clock=clock, wait=wait)
        self._lock = threading.Lock()
        self._whole, self._parts = UNLIMITED, 1

    @property
    def whole(self) -> Rates:
        """What this process and others may do together."""
        return self._whole

    @property
    def own(self) -> Rates:
        """The part of them that this process uses."""
        return self._whole.part(self._parts)

    @property
    def holds(self) -> bool:
        """Whether copying would be faster without a limit: threads wait for it, or did a moment ago."""
        return self._bytes.holds or self._objects.holds

    def change(self, whole: Rates) -> None:
        """Set the limits of all processes. Takes effect at once, also for threads that wait."""
        self._set(whole, self._parts)

    def share(self, parts: int) -> None:
        """Use one of this many equal parts from now on; other processes have the rest."""
        self._set(self._whole, parts)

    def _set(self, whole: Rates, parts: int) -> None:
        with self._lock:
            self._whole, self._parts = whole, parts
            self._bytes.change(self.own.bytes)
            self._objects.change(self.own.objects)

    def begin_object(self, check: Callable[[], None]) -> None:
        """Wait until another object may be begun. ``check`` may raise to give up."""
        self._objects.take(1, check)

    def applied(self, check: Callable[[], None]) -> AbstractContextManager[None]:
        """Inside this context, on this thread, whatever is copied, read back or compared waits until its
        bytes may be transferred. ``check`` may raise to give up."""
        return _Applied(self._bytes, check)
