"""One attempt at a claimed job: runs its handler and records how it ended. The same in the runner's loop and
in a worker's process."""

from __future__ import annotations

import logging

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import Handler, Job, JobContext, JobResult, JobStore

log = logging.getLogger(__name__)


def attempt(handler: Handler, context: JobContext) -> JobResult | StowageError:
    """Run a job; return how it ended, or why it failed. Raises nothing."""
    job = context.job
    try:
        return handler.run(context)
    except StowageError as error:
        log.warning("Job %d (%s) failed: %s", job.id, job.kind, error)
        return error
    except Exception:
        log.exception("Job %d (%s) failed unexpectedly", job.id, job.kind)
        return StowageError(
            Kind.INTERNAL,
            "Something went wrong inside Stowage while this was running.",
            operation=job.kind,
            remedy="Check the console's log for details; it is safe to try again.",
        )


def record(store: JobStore, handler: Handler, job: Job, result: JobResult | StowageError) -> bool:
    """Record how a job ended; return whether this process should be replaced. Raises ``StowageError`` if the
    store cannot be used: then the lease expires and the job runs again."""
    if isinstance(result, StowageError):
        # The subject first: a crash in between then repeats the job instead of losing its failure.
        handler.failed(job, result)
        store.finish(job, result.reason)
        return False
    if result.requeue:
        store.requeue(job)
    else:
        store.finish(job)
    if result.restart:
        log.warning("Job %d left threads blocked in network calls: this process is replaced", job.id)
    return result.restart
