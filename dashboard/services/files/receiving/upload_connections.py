"""The connections over which uploads come now: at most one for each upload, in whichever console it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dashboard.services.files.receiving.quarantine import Quarantine, locked_error
from dashboard.services.files.receiving.receiver import Receiver


class UploadConnections:
    """Thread-safe. ``shared``: other consoles have the same quarantine, and a client that comes back may
    reach another one than before."""

    def __init__(self, quarantine: Quarantine, *, shared: bool) -> None:
        self._quarantine = quarantine
        self._shared = shared
        self._lock = threading.Lock()
        self._receivers: dict[str, Receiver] = {}

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Around opening a receiver and :meth:`add`, one at a time."""
        with self._lock:
            yield

    def add(self, receiver: Receiver) -> None:
        """Remember an open receiver, inside :meth:`opening`."""
        self._receivers[receiver.upload.id] = receiver
        if self._shared:
            self._quarantine.forget_request(receiver.upload.id)

    def forget(self, receiver: Receiver) -> None:
        """A receiver is closed."""
        self._receivers.pop(receiver.upload.id, None)

    def take_over(self, upload_id: str) -> None:
        """End a connection over which nothing comes any more: its client has come back over another. Raises
        ``LOCKED`` while bytes arrive, and until another console has ended it."""
        receiver = self._find(upload_id)
        if receiver is not None:
            if not receiver.is_stale:
                raise locked_error()
            receiver.abandon()
        elif self._shared and self._quarantine.is_locked(upload_id):
            self._quarantine.ask_for(upload_id)
            raise locked_error()

    def abandon(self, upload_id: str) -> None:
        """End the connection of an upload, if there is one here."""
        receiver = self._find(upload_id)
        if receiver is not None:
            receiver.abandon()

    def give_way(self) -> int:
        """End connections over which nothing comes any more and whose clients have come back to another
        console; return how many. Called about once a second where there are others."""
        with self._lock:
            open_now = list(self._receivers.items())
        wanted = [one for one in open_now if one[1].is_stale and self._quarantine.is_asked_for(one[0])]
        for upload_id, receiver in wanted:
            receiver.abandon()
            self._quarantine.forget_request(upload_id)
        return len(wanted)

    def _find(self, upload_id: str) -> Receiver | None:
        with self._lock:
            return self._receivers.get(upload_id)
