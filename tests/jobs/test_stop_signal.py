"""A request to stop is never lost, whenever it arrives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True
    )
    return done.stdout.strip()


def test_a_signal_that_arrives_before_the_wait_ends_the_wait() -> None:
    # Handled long before wait() begins: an event set by a handler would do too, but a thread that is about
    # to block would not notice that its handler is due.
    script = """
import os, signal
from dashboard.jobs.stop_signal import StopSignal
stop = StopSignal(signal.SIGTERM, signal.SIGINT)
print(stop.wait(0))
os.kill(os.getpid(), signal.SIGTERM)
print(stop.wait())
for _ in range(100_000):
    os.kill(os.getpid(), signal.SIGINT)
print(stop.wait(0))
"""
    assert run(script).split() == ["False", "True", "True"]


def test_a_signal_is_seen_by_a_wait_that_its_handler_cannot_interrupt() -> None:
    # The kernel may hand a signal to any thread; the main thread then goes on waiting.
    script = """
import os, signal, threading
from dashboard.jobs.stop_signal import StopSignal
stop = StopSignal(signal.SIGTERM)
def send():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Timer(0.1, send).start()
print(stop.wait(100))
"""
    assert run(script) == "True"


def test_a_callback_may_set_an_event_that_the_main_thread_waits_for() -> None:
    # From a handler this would deadlock if the signal arrived inside Event.wait.
    script = """
import os, signal, sys, threading
from dashboard.jobs.stop_signal import StopSignal
done, calls = threading.Event(), []
StopSignal(signal.SIGTERM).then(lambda: (calls.append(1), done.set()))
other = threading.Thread(target=lambda: [os.kill(os.getpid(), signal.SIGTERM) for _ in range(100)])
other.start()
while not done.wait(0.0001):
    pass
other.join()
print(calls)
"""
    assert run(script) == "[1]"


def test_a_child_that_is_started_after_the_signal_can_be_stopped() -> None:
    script = """
import os, signal, subprocess
from dashboard.jobs.stop_signal import StopSignal
stop = StopSignal(signal.SIGTERM, signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
stop.wait()
with subprocess.Popen(["sleep", "60"]) as child:
    child.terminate()
    print(child.wait(50))
"""
    assert run(script) == "-15"
