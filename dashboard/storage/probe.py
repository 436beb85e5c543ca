"""The live check behind "Test connection": write, read and delete one small object, step by step.

Works on any driver. For drivers with a network address, the first steps resolve it, connect and sign in. The
test object is removed whatever happens, as far as the backend allows.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, replace
from typing import Literal, Self

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.name_rules import NameRules
from dashboard.storage.net.timeouts import Cancelled, call_with_timeout
from dashboard.storage.probe_steps import Probe, Skip, StepSpec

WRITE_SECONDS = 20.0
"""Seconds within which a backend that is to take files has to store a small one."""

StepState = Literal["waiting", "running", "passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """The state of one step. ``milliseconds`` once it ended. ``can_create_bucket`` on a bucket step that
    failed because there is none and the driver could create it."""

    name: str
    label: str
    state: StepState = "waiting"
    milliseconds: float | None = None
    message: str = ""
    remedy: str = ""
    can_create_bucket: bool = False


@dataclass(frozen=True, slots=True)
class ProbeRun:
    """The state of a probe; grows with :meth:`with_step`. ``noun``: what the driver calls the container of
    its objects, such as bucket or folder."""

    steps: tuple[Step, ...]
    noun: str = "bucket"
    finished: bool = False
    passed: bool = False
    can_create_bucket: bool = False

    @classmethod
    def of(cls, driver: Driver) -> Self:
        """Every step for this driver, waiting."""
        attempt = Probe(driver)
        return cls(tuple(Step(stage.name, stage.label) for stage in attempt.stages()), attempt.noun)

    def with_step(self, step: Step) -> ProbeRun:
        """Return the run with this step changed."""
        steps = tuple(step if old.name == step.name else old for old in self.steps)
        finished = all(each.state in ("passed", "failed", "skipped") for each in steps)
        return ProbeRun(
            steps=steps,
            noun=self.noun,
            finished=finished,
            passed=finished and all(each.state != "failed" for each in steps),
            can_create_bucket=any(each.can_create_bucket for each in steps),
        )


def probe(
    driver: Driver,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_name_rules: Callable[[NameRules], None] = lambda rules: None,
    only: Collection[str] = (),
    on_write_error: Callable[[StorageError], None] = lambda error: None,
    on_test_object: Callable[[str, bool], None] = lambda key, there: None,
) -> Generator[Step]:
    """Run the steps of :meth:`ProbeRun.of` in order, or ``only`` those of these names, yielding each twice:
    running, and ended.

    ``stop`` is called several times a second. Every step ends within its time, even if the driver's call does
    not: that call is left to its own timeout in a background thread. Never raises for what the backend does.
    Closing the iterator early cleans up too. ``on_name_rules`` is called with what the container does with
    names, once that is known, ``on_write_error`` with why the test object was not written. ``on_test_object``
    is called with its key and True before it is written, and False once it is certainly gone.
    """
    attempt = Probe(driver, on_name_rules, on_write_error, on_test_object)
    blocker = ""
    try:
        for stage in attempt.stages():
            if only and stage.name not in only:
                continue
            step = Step(stage.name, stage.label)
            if blocker:
                yield replace(step, state="skipped", message=blocker)
                continue
            yield replace(step, state="running")
            began = time.monotonic()
            step, blocker = _run_step(stage, step, attempt, stop)
            yield replace(step, milliseconds=(time.monotonic() - began) * 1000)
    finally:
        attempt.clean_up()


@dataclass(frozen=True, slots=True)
class WriteCheck:
    """Whether a backend takes files. ``reason``: why not, in one sentence, or nothing. ``leftover``: that the
    test object could not be removed."""

    reason: str = ""
    remedy: str = ""
    leftover: str = ""
    denied: bool = False
    """Whether the reason is that these credentials may not write."""

    @property
    def passed(self) -> bool:
        """Whether the test object was written and read back."""
        return not self.reason


def check_writing(
    driver: Driver,
    *,
    seconds: float = WRITE_SECONDS,
    stop: Callable[[], bool] = lambda: False,
    on_test_object: Callable[[str, bool], None] = lambda key, there: None,
) -> WriteCheck:
    """Write a small object of our own, read it back and remove it, within ``seconds``.

    Never raises for what the backend does. An object that cannot be removed again is no failure: new files
    are stored where nothing may be deleted, too.
    """
    deadline = time.monotonic() + seconds
    errors: list[StorageError] = []
    steps = probe(
        driver,
        stop=lambda: stop() or time.monotonic() > deadline,
        only=("write", "read", "delete"),
        on_write_error=errors.append,
        on_test_object=on_test_object,
    )
    with contextlib.closing(steps):
        for step in steps:
            if step.state in ("running", "passed"):
                continue
            if step.name == "delete":
                return WriteCheck(leftover=step.message)
            if step.state == "skipped" and (stop() or time.monotonic() > deadline):
                late = f"The test object was not stored within {seconds:.0f} seconds."
                return WriteCheck(late, "Try again in a minute.")
            denied = any(error.kind is Kind.DENIED for error in errors)
            return WriteCheck(step.message, step.remedy, denied=denied)
    return WriteCheck()


def _run_step(stage: StepSpec, step: Step, attempt: Probe, stop: Callable[[], bool]) -> tuple[Step, str]:
    """Return the ended step, and why the following steps cannot run, or nothing."""
    try:
        return replace(step, state="passed", message=call_with_timeout(stage.act, stage.seconds, stop)), ""
    except Skip as skip:
        return replace(step, state="skipped", message=str(skip)), ""
    except Cancelled:
        return replace(step, state="skipped", message="The test was stopped."), "The test was stopped."
    except StorageError as error:
        failed = replace(
            step,
            state="failed",
            message=error.reason,
            remedy=error.remedy,
            can_create_bucket=attempt.can_create_bucket,
        )
        gone = error.kind in (Kind.UNREACHABLE, Kind.TIMEOUT)
        return failed, f"Not tried, because “{stage.label}” failed." if stage.fatal or gone else ""
