"""``stowage run`` as a process: what it prints, how it ends, and what survives."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers.console import CHECKOUT, ConsoleProcess, alive, kill_9
from tests.servers.processes import wait_until


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return tmp_path / "instance"


@pytest.fixture
def console(instance: Path) -> Iterator[ConsoleProcess]:
    with ConsoleProcess(instance) as console:
        yield console


def test_the_first_start_makes_everything_private_and_prints_address_and_code(
    console: ConsoleProcess, instance: Path
) -> None:
    wait_until(lambda: any("Setup code" in line for line in console.lines), seconds=60, what="setup code")
    assert instance.stat().st_mode & 0o777 == 0o700
    for path in instance.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name
    assert (instance / "stowage.key").stat().st_mode & 0o777 == 0o400
    with urllib.request.urlopen(console.address, timeout=60) as answer:
        assert answer.status == 200
        assert "setup" in answer.url


def test_it_ends_cleanly_on_sigterm_and_takes_the_runner_along(console: ConsoleProcess) -> None:
    runner = console.await_runner()
    assert console.stop() == 0
    assert not alive(runner)
    assert not [line for line in console.lines if "Traceback" in line or "ERROR" in line]


SLOW = """
import sys, time
from pathlib import Path
from dashboard import children, web
from dashboard.settings import Settings

def page():
    print("at work", flush=True)
    time.sleep(1)
    return "x" * 8_000_000

def register(app, services):
    app.extensions[web.context.EXTENSION] = services
    app.add_url_rule("/", view_func=page)

web.register = register
children.run_web(["--instance", sys.argv[1], "--sockets", sys.argv[2]])
"""


def test_a_request_in_flight_is_answered_before_the_end(instance: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-c", SLOW, str(instance), str(listening.fileno())]
        with subprocess.Popen(
            command,
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[listening.fileno()],
        ) as process:
            assert process.stdout
            connection = http.client.HTTPConnection(*listening.getsockname(), timeout=120)
            connection.request("GET", "/")
            assert any("at work" in line for line in process.stdout)
            process.terminate()
            assert len(connection.getresponse().read()) == 8_000_000
            connection.close()
            assert process.wait(120) == 0


def test_ctrl_c_on_the_whole_terminal_group_is_clean(instance: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "dashboard", "run", "--port", "0"],
        cwd=CHECKOUT,
        env={**os.environ, "STOWAGE_INSTANCE": str(instance)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        said = ""
        while "http://" not in said:
            said += process.stdout.readline()
        watch = ConsoleProcess(instance)
        runner = watch.await_runner()
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(120) == 0
    assert "Traceback" not in rest
    assert not alive(runner)


def test_a_port_in_use_is_a_sentence(console: ConsoleProcess, tmp_path: Path) -> None:
    port = urlsplit(console.address).port
    done = subprocess.run(
        [sys.executable, "-m", "dashboard", "run", "--port", str(port)],
        cwd=CHECKOUT,
        env={**os.environ, "STOWAGE_INSTANCE": str(tmp_path / "other")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"127.0.0.1 port {port} is in use by another program." in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_runner_is_back_at_work_and_pages_never_notice(console: ConsoleProcess) -> None:
    first = console.await_runner()
    kill_9(first)
    second = console.await_runner(other_than=first)
    assert second != first
    with urllib.request.urlopen(f"{console.address}", timeout=60) as answer:
        assert answer.status == 200


def test_neither_runner_nor_web_server_outlives_a_killed_console(console: ConsoleProcess) -> None:
    runner, web = console.await_runner(), web_pid(console)
    assert web
    console.kill()
    wait_until(lambda: not alive(runner) and not alive(web), seconds=60, what="children gone")


def web_pid(console: ConsoleProcess) -> int | None:
    """The process of the web server: the console's child that is not the runner."""
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if parent == str(console.pid) and b"web" in command and alive(int(entry.name)):
            return int(entry.name)
    return None


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=120) as answer:
            return bool(answer.read() == b"ok\n")
    except OSError:
        return False


def test_idle_connections_neither_end_the_console_nor_keep_anybody_out(console: ConsoleProcess) -> None:
    first = web_pid(console)
    address = urlsplit(console.address)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    idle: list[socket.socket] = []
    try:
        for number in range(1100):
            idle.append(socket.create_connection((address.hostname, address.port), timeout=120))
            if number % 3 == 0:
                idle[-1].sendall(b"POST /sign-in HTTP/1.1\r\nContent-Le")
        for _ in range(3):
            assert healthy(console.address)
    finally:
        for each in idle:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert web_pid(console) == first


def test_a_killed_web_server_is_back_at_the_same_address(console: ConsoleProcess) -> None:
    runner, first = console.await_runner(), web_pid(console)
    assert first
    kill_9(first)
    # Nobody is refused meanwhile: the port is kept, and who connects is answered by the next one.
    assert healthy(console.address)
    assert web_pid(console) not in (None, first)
    assert console.runner_pid() == runner
    wait_until(
        lambda: any("The web server ended (signal 9" in line for line in console.lines),
        seconds=60,
        what="words about its end",
    )
    assert len([line for line in console.lines if "Stowage is at" in line]) == 1


def test_importing_the_application_starts_nothing(instance: Path) -> None:
    script = "import wsgi, threading; print(threading.active_count(), wsgi.app.name)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env={**os.environ, "STOWAGE_INSTANCE": str(instance)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "1 dashboard\n"
    assert not (instance / "runner.lock").exists()


def test_an_unusable_instance_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = subprocess.run(
        [sys.executable, "-m", "dashboard", "run", "--port", "0"],
        cwd=CHECKOUT,
        env={**os.environ, "STOWAGE_INSTANCE": str(tmp_path / "file" / "instance")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
