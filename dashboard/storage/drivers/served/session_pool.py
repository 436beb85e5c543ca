"""A bounded pool of sessions, each used by one thread at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError

WAIT_SECONDS = 600.0
"""How long a call waits for a session in use by others, which may be transferring large files."""
WAIT_HOLDING_SECONDS = 60.0
"""The same for a thread that already holds a session of another pool. Another thread may hold one here and
wait for that one: the shorter wait ends the deadlock."""
IDLE_SECONDS = 240.0
"""Sessions idle for longer are closed and not reused."""


class PooledSession(Protocol):
    """What the pool requires of a session."""

    broken: bool
    """Whether the connection is lost or its state unknown. A broken session is never reused."""

    def is_alive(self, idle: float) -> bool:
        """Whether it still works after ``idle`` seconds of no use, by the cheapest possible check."""
        ...

    def close(self) -> None:
        """Close the connection. Never raises. Idempotent."""
        ...


C = TypeVar("C", bound=PooledSession)
T = TypeVar("T")


_counter_lock = threading.Lock()
_sessions_of_thread: Counter[int] = Counter()
"""How many sessions each thread holds, over all pools."""


class Lease(Generic[C]):
    """A session in use. ``release`` returns it to the pool, or closes it if it is broken. Idempotent."""

    def __init__(self, pool: SessionPool[C], session: C, owner: int, *, extra: bool, fresh: bool) -> None:
        self._pool = pool
        self._owner = owner
        self._extra = extra
        self._released = False
        self.session = session
        self.fresh = fresh

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._pool.return_session(self.session, self._owner, extra=self._extra)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class SessionPool(Generic[C]):
    """At most ``limit`` sessions. Thread-safe. A thread that already holds one may take another beyond the
    limit, because copying within a backend reads and writes at once and a thread must not wait for itself."""

    def __init__(self, connect: Callable[[], C], limit: int) -> None:
        self._connect = connect
        self.limit = limit
        self._changed = threading.Condition()
        self._idle: list[tuple[float, C]] = []
        self._busy = 0
        self._in_use: Counter[int] = Counter()
        self._closed = False

    def run(self, act: Callable[[C], T]) -> T:
        """Call ``act`` with a session and return its result. Retries once on a new session if a reused one
        turns out to be dead, so ``act`` must be safe to repeat."""
        lease, result = self.borrow(act)
        lease.release()
        return result

    def borrow(self, act: Callable[[C], T]) -> tuple[Lease[C], T]:
        """Like :meth:`run`, but keep the session, which the caller releases."""
        lease = self.lease()
        try:
            try:
                return lease, act(lease.session)
            except StorageError:
                if not lease.session.broken or lease.fresh:
                    raise
                lease.release()
            lease = self.lease(fresh=True)
            return lease, act(lease.session)
        except BaseException:
            lease.release()
            raise

    def lease(self, *, fresh: bool = False) -> Lease[C]:
        """Return an idle session that still works, or a new one. Raises ``StorageError`` of kind
        ``throttled`` if none becomes free in time, and the errors of connecting."""
        me = threading.get_ident()
        extra = self._acquire_slot(me)
        try:
            session = None if fresh else self._take_idle()
            return Lease(self, session or self._connect(), me, extra=extra, fresh=session is None)
        except BaseException:
            self._release_slot(me, extra=extra)
            raise

    def return_session(self, session: C, owner: int, *, extra: bool) -> None:
        """Take back a session from its lease."""
        with self._changed:
            keep = not (session.broken or self._closed or len(self._idle) >= self.limit)
            if keep:
                self._idle.append((time.monotonic(), session))
        if not keep:
            session.close()
        self._release_slot(owner, extra=extra)

    def close(self) -> None:
        """Close the idle sessions now and those in use once they are released."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, session in idle:
            session.close()

    def _acquire_slot(self, me: int) -> bool:
        with _counter_lock:
            patience = WAIT_HOLDING_SECONDS if _sessions_of_thread[me] else WAIT_SECONDS
        deadline = time.monotonic() + patience
        with self._changed:
            extra = self._in_use[me] > 0
            while not extra and self._busy >= self.limit:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise StorageError(
                        Kind.THROTTLED,
                        f"All {self.limit} connections to the server were busy for a long time.",
                        operation="connect",
                        remedy="Use fewer workers, or allow more connections under Advanced.",
                    )
            self._in_use[me] += 1
            self._busy += not extra
        with _counter_lock:
            _sessions_of_thread[me] += 1
        return extra

    def _release_slot(self, owner: int, *, extra: bool) -> None:
        with self._changed:
            self._in_use[owner] -= 1
            if not self._in_use[owner]:
                del self._in_use[owner]
            self._busy -= not extra
            self._changed.notify()
        with _counter_lock:
            _sessions_of_thread[owner] -= 1
            if not _sessions_of_thread[owner]:
                del _sessions_of_thread[owner]

    def _take_idle(self) -> C | None:
        while True:
            with self._changed:
                if not self._idle:
                    return None
                since, session = self._idle.pop()
            idle = time.monotonic() - since
            if idle < IDLE_SECONDS and session.is_alive(idle):
                return session
            session.close()
