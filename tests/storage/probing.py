"""How the tests run a connection test and look at its steps."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.storage.driver import Driver
from dashboard.storage.probe import ProbeRun, Step, probe

PLAIN_STEPS = ["bucket", "write", "read", "list", "delete", "names"]
NETWORK_STEPS = ["resolve", "connect", "authenticate"]
S3_STEPS = [*NETWORK_STEPS, "bucket", "look", *PLAIN_STEPS[1:]]


def run(driver: Driver, stop: Callable[[], bool] = lambda: False) -> ProbeRun:
    result = ProbeRun.of(driver)
    for step in probe(driver, stop=stop):
        assert not result.finished
        result = result.with_step(step)
    assert result.finished
    return result


def states(result: ProbeRun) -> dict[str, str]:
    return {step.name: step.state for step in result.steps}


def step_of(result: ProbeRun, name: str) -> Step:
    return next(step for step in result.steps if step.name == name)


def failed_step(result: ProbeRun, name: str) -> Step:
    """The one failed step, after which nothing was tried."""
    step = step_of(result, name)
    assert step.state == "failed"
    later = result.steps[result.steps.index(step) + 1 :]
    assert {each.state for each in later} == {"skipped"}
    assert step.remedy
    assert not result.passed
    return step
