"""One attempt to deliver a message, in steps: the same for a test, which shows them, and for the job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from dashboard.errors import StowageError
from dashboard.services.notifications.notification_values import clean
from dashboard.storage.net.transport_errors import TRANSPORT_ERRORS
from dashboard.storage.probe import Step

ATTEMPT_SECONDS = 30.0
"""Seconds after which an attempt is given up, however far it is."""
IDLE_SECONDS = 10.0
"""Seconds that a server may be silent."""
MAX_ANSWER = 300
"""Characters of a server's answer that are kept."""


class DeliveryError(Exception):
    """A message was not accepted. ``status``: the code of the answer, if there was one; ``refused``: whether
    sending it once more is unlikely to help; ``retry_after``: seconds that the server asked for."""

    def __init__(
        self,
        reason: str,
        remedy: str = "",
        *,
        status: int | None = None,
        answer: str = "",
        refused: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.status = status
        self.answer = clean(answer, MAX_ANSWER)
        self.refused = refused
        self.retry_after = retry_after

    @classmethod
    def of(cls, error: StowageError) -> DeliveryError:
        """From an error that has its sentences already."""
        return cls(error.reason, error.remedy, refused=not error.retryable)

    @classmethod
    def of_transport(cls, code: str, host: str, *, speaks: str = "HTTP") -> DeliveryError:
        """From a code of ``TRANSPORT_ERRORS``."""
        row = TRANSPORT_ERRORS[code]
        words = {"host": host, "seconds": f"{IDLE_SECONDS:.0f}", "speaks": speaks, "key": "The answer"}
        words["redirect"] = "Enter the address that it redirects to."
        # Its own remedy is about backends, whose addresses have regions.
        remedy = "Check the address for typing errors." if code == "dns" else row.remedy.format_map(words)
        return cls(row.reason.format_map(words), remedy)


class PartlyRefused(DeliveryError):
    """Some recipients were refused and others have the message: it must not be sent again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said when it accepted a message."""

    status: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of an attempt. ``run`` returns a sentence about it, or nothing; it raises :class:`DeliveryError`
    and ``StowageError``."""

    name: str
    label: str
    run: Callable[[], str]


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """The state of a test; see ``storage.probe.ProbeRun``."""

    steps: tuple[Step, ...]

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return all(step.state in ("passed", "failed", "skipped") for step in self.steps)

    @property
    def passed(self) -> bool:
        """Whether all of them passed."""
        return all(step.state == "passed" for step in self.steps)

    @property
    def failed(self) -> Step | None:
        """The step that failed."""
        return next((step for step in self.steps if step.state == "failed"), None)

    def with_step(self, step: Step) -> ChannelTest:
        """With this step changed."""
        return ChannelTest(tuple(step if old.name == step.name else old for old in self.steps))


def waiting(stages: Sequence[Stage]) -> ChannelTest:
    """A test that has not begun."""
    return ChannelTest(tuple(Step(stage.name, stage.label) for stage in stages))


def run_stages(stages: Sequence[Stage]) -> Iterator[tuple[Step, DeliveryError | None]]:
    """Run them in order, yielding each twice: running, and ended. After a failure the others are skipped."""
    failure: DeliveryError | None = None
    for stage in stages:
        step = Step(stage.name, stage.label)
        if failure is not None:
            yield replace(step, state="skipped"), None
            continue
        yield replace(step, state="running"), None
        began = time.monotonic()
        try:
            detail = stage.run()
            step = replace(step, state="passed", message=detail)
        except StowageError as error:
            failure = DeliveryError.of(error)
        except DeliveryError as error:
            failure = error
        if failure is not None:
            reason = f"{failure.reason} It answered: {failure.answer}" if failure.answer else failure.reason
            step = replace(step, state="failed", message=reason, remedy=failure.remedy)
        yield replace(step, milliseconds=(time.monotonic() - began) * 1000), failure
