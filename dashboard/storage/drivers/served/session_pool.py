"""A bounded number of connections, each used by one thread at a time."""

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
"""How long a call waits for a connection that others use; they may be moving large files."""
WAIT_HOLDING_SECONDS = 60.0
"""The same for a thread that holds a connection to another server meanwhile, for which someone who holds
one here may be waiting."""
IDLE_SECONDS = 240.0
"""Connections unused for longer are closed and not used again."""


class Connection(Protocol):
    """What the pool needs of a connection."""

    broken: bool
    """Whether the line is lost or in a state nobody knows; it is then not used again."""

    def is_alive(self, idle: float) -> bool:
        """Whether it still works, after so many idle seconds; the cheapest look there is."""
        ...

    def close(self) -> None:
        """Free it. Never raises; idempotent."""
        ...


C = TypeVar("C", bound=Connection)
T = TypeVar("T")


_counter_lock = threading.Lock()
_sessions_of_thread: Counter[int] = Counter()
"""Connections by the thread that took them, to all servers."""


class Lease(Generic[C]):
    """A connection in use. ``release`` is idempotent and gives it back, or closes it when broken."""

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
    """At most ``limit`` connections. A thread that holds one already gets a second beyond the limit:
    copying within a backend reads and writes at once, and waiting for oneself would never end."""

    def __init__(self, connect: Callable[[], C], limit: int) -> None:
        self._connect = connect
        self.limit = limit
        self._changed = threading.Condition()
        self._idle: list[tuple[float, C]] = []
        self._busy = 0
        self._in_use: Counter[int] = Counter()
        self._closed = False

    def run(self, act: Callable[[C], T]) -> T:
        """``act`` with a connection; once more with a new one if an idle connection turns out to be dead.
        ``act`` must be safe to repeat."""
        lease, result = self.borrow(act)
        lease.release()
        return result

    def borrow(self, act: Callable[[C], T]) -> tuple[Lease[C], T]:
        """As :meth:`run`, keeping the connection, which the caller releases."""
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
        """A connection: an idle one that still works, else a new one. Raises ``StorageError``: kind
        ``throttled`` when none becomes free in time, and whatever connecting raises."""
        me = threading.get_ident()
        extra = self._acquire_slot(me)
        try:
            session = None if fresh else self._take_idle()
            return Lease(self, session or self._connect(), me, extra=extra, fresh=session is None)
        except BaseException:
            self._release_slot(me, extra=extra)
            raise

    def return_session(self, session: C, owner: int, *, extra: bool) -> None:
        """Called by the lease."""
        with self._changed:
            keep = not (session.broken or self._closed or len(self._idle) >= self.limit)
            if keep:
                self._idle.append((time.monotonic(), session))
        if not keep:
            session.close()
        self._release_slot(owner, extra=extra)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
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
