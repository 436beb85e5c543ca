"""Messages to workers, over Celery and Redis.

A message only says where to look: the database is the truth, and whoever gets the message claims what it
names there. So a lost, doubled, late or reordered message does no harm, and neither does an empty Redis:
the dispatcher sends again what nobody works on.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

JOB = "stowage.job"
"""The task “look at job N”."""
CARRY = "stowage.carry"
"""The task “carry for this run of migration N”."""
VISIBILITY_SECONDS = 3600
SHUTDOWN_SECONDS = 20


def make_app(broker_url: str) -> Celery:
    """A Celery application for a broker. Connects when it is used."""
    app = Celery("stowage", broker=broker_url, set_as_current=False)
    app.conf.update(
        # A message counts as done when its task has ended: that of a killed machine is delivered again.
        task_acks_late=True,
        # The same if only the process was killed; without this its message would be lost.
        task_reject_on_worker_lost=True,
        # A worker takes no message that it cannot begin: another may be free.
        worker_prefetch_multiplier=1,
        # How a job ended is in the database.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # For jobs to end what they began, then they are queued again.
        worker_soft_shutdown_timeout=SHUTDOWN_SECONDS,
        # A broker that restarts is no reason to stop a migration: its claim is in the database.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # After this a message that was not confirmed is delivered again, to find its job claimed.
            "visibility_timeout": VISIBILITY_SECONDS,
            # What killed workers left is given to others soon after they are noticed.
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # A machine that is cut off must not hold up a sender.
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "socket_keepalive": True,
        },
        # Numbers only: nobody who can write to the broker can make a worker run anything.
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_default_queue="maintenance",
        # For Flower.
        worker_send_task_events=True,
        task_send_sent_event=True,
        event_queue_expires=60,
        # Ours is configured already, with credentials redacted.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


class JobMessages:
    """Sends messages. Thread-safe."""

    def __init__(self, broker_url: str) -> None:
        self._app = make_app(broker_url)
        self._failing = False

    def send_job(self, job_id: int, queue: str) -> bool:
        """Tell the workers of a queue to look at a job; return whether the broker has taken the message."""
        return self._send(JOB, (job_id,), queue)

    def send_carry(self, migration_id: int, fence: int, number: int, carriers: int, queue: str) -> bool:
        """Ask for a carrier of a run; return whether the broker has taken the message."""
        return self._send(CARRY, (migration_id, fence, number, carriers), queue)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._app.close()

    def _send(self, task: str, arguments: tuple[Any, ...], queue: str) -> bool:
        try:
            # Not again by itself: who sends has to get on with other things, and comes back.
            self._app.send_task(task, arguments, queue=queue, retry=False)
        except (OperationalError, OSError) as error:
            if not self._failing:
                log.warning("The broker cannot be reached; jobs wait until it can: %s", error)
            self._failing = True
            return False
        if self._failing:
            log.warning("The broker can be reached again")
        self._failing = False
        return True
