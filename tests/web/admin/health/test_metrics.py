"""``/healthz``, ``/readyz`` and ``/metrics``: what monitoring reads, and what strangers do not."""

from __future__ import annotations

import math
import re
import threading

import pytest

from dashboard.services.backends.status import Badge
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.web.admin.health.health_page import verdict
from dashboard.web.health import CONTENT_TYPE, MAX_LABEL, family
from tests.web.conftest import ADMIN, SECRET, Browser, WebConsole, add_bucket

ACTOR = Actor(ADMIN, Role.ADMIN, "web")
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")


def parse(text: str) -> dict[str, list[tuple[str, float]]]:
    """Read the text format 0.0.4 as strictly as its description: each family once, HELP and TYPE before its
    samples, no sample twice. Raises ``AssertionError``."""
    assert text.endswith("\n")
    found: dict[str, list[tuple[str, float]]] = {}
    current, helped = "", ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert helped not in found
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert (current, kind) == (helped, "gauge")
            found[current] = []
        else:
            matched = SAMPLE.fullmatch(line)
            assert matched, line
            name, labels, value = matched.groups()
            assert name == current
            assert labels not in [known for known, _ in found[name]]
            assert not math.isnan(float(value))
            found[name].append((labels or "", float(value)))
    return found


def token_of(console: WebConsole, *scopes: Permission) -> str:
    made = console.services.tokens.create(ACTOR, f"monitoring {len(scopes)}", [each.value for each in scopes])
    return made.secret.reveal()


def read(console: WebConsole, token: str, path: str = "/metrics") -> tuple[int, str]:
    response = console.app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})
    return response.status_code, response.get_data(as_text=True)


def test_metrics_need_a_token_of_their_own(console: WebConsole, admin: Browser) -> None:
    assert console.app.test_client().get("/metrics").status_code in (302, 303, 401)
    right = token_of(console, Permission.METRICS)
    assert read(console, right)[0] == 200
    assert read(console, token_of(console, Permission.VIEW, Permission.AUDIT))[0] == 403
    assert read(console, right + "x")[0] in (302, 303, 401)
    # Nothing else is open to it.
    assert read(console, right, "/api/v1/backends")[0] == 403
    response = console.app.test_client().get("/metrics", headers={"Authorization": f"Bearer {right}"})
    assert response.content_type == CONTENT_TYPE


def test_metrics_are_well_formed_and_hold_no_secret(console: WebConsole, admin: Browser) -> None:
    add_bucket(admin)
    status = console.services.status
    one, two = (console.services.backends.get(name) for name in ("local-disk", "bucket-one"))
    status.record_check(one.id, Badge.HEALTHY, 12.5)
    status.record_count(one.id, 7, 2**62, final=True)
    status.record_check(two.id, Badge.DOWN, None, f"Refused {SECRET}")
    code, text = read(console, token_of(console, Permission.METRICS, Permission.VIEW, Permission.TEST))
    assert code == 200
    found = parse(text)
    assert ('backend="local-disk"', 1.0) in found["stowage_backend_up"]
    assert ('backend="bucket-one"', 0.0) in found["stowage_backend_up"]
    assert ('backend="local-disk"', float(2**62)) in found["stowage_backend_bytes"]
    assert ('backend="local-disk"', 0.0125) in found["stowage_backend_answer_seconds"]
    assert ('backend="bucket-one",state="down"', 1.0) in found["stowage_backend_state"]
    assert len(found["stowage_database_bytes"]) == 2
    assert SECRET not in text


def test_any_text_is_a_label_of_bounded_length() -> None:
    hostile = 'a"} 1\n# TYPE x gauge\\' + "\udcff" + "y" * 5000
    [(labels, value)] = parse(family("thing", "A thing.", [({"name": hostile}, math.inf)]))["stowage_thing"]
    assert len(labels) < MAX_LABEL + 30
    assert value == math.inf
    assert family("thing", "A thing.", []) == ""


def test_the_console_is_alive_before_it_is_ready(fresh: WebConsole) -> None:
    client = fresh.app.test_client()
    for path, code in (("/healthz", 200), ("/readyz", 503)):
        response = client.get(path, headers={"Host": "10.0.0.7:8080"})
        assert response.status_code == code
    lines = client.get("/readyz").get_data(as_text=True).splitlines()
    assert lines == ["setup: not set up", "runner: not running"]
    # Asking for a runner is no sign of life of one.
    assert fresh.services.runner.heartbeat() is None


def test_ready_with_a_runner_and_not_while_sealed(
    console: WebConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, stop = console.app.test_client(), threading.Event()
    thread = threading.Thread(target=console.services.runner.run_forever, args=(stop,))
    thread.start()
    try:
        # It is the runner a moment before it says so.
        while not console.services.runner.is_alive() or console.services.runner.heartbeat() is None:
            stop.wait(0.01)
        response = client.get("/readyz")
        assert (response.status_code, response.get_data(as_text=True)) == (200, "ready\n")
    finally:
        stop.set()
        thread.join()
    file = console.services.settings.key_file
    sealed = file.rename(file.with_suffix(".away"))
    try:
        console.services.keys._cached_state = None
        text = client.get("/readyz").get_data(as_text=True)
        assert "key: sealed" in text
        assert str(console.services.settings.instance) not in text
    finally:
        sealed.rename(file)
        console.services.keys._cached_state = None


def test_partial_trouble_is_not_down(console: WebConsole, admin: Browser) -> None:
    services = console.services
    summary, parts = services.backends.summary(), ()
    for name, badge in (("local-disk", Badge.HEALTHY), ("bucket-one", Badge.DOWN)):
        services.status.record_check(services.backends.get(name).id, badge, 1.0)
    summary = services.backends.summary()
    tone, sentence, _ = verdict(summary, parts, ["bucket-one"])
    assert (tone, sentence) == ("warn", "Working, with 1 of 2 backends down: bucket-one.")
    assert verdict(summary, parts, ["local-disk"])[0] == "bad"
    page = admin.get("/health").get_data(as_text=True)
    assert "<script>alert" not in page
    databases = ("stowage", "stowage_work") if services.database.on_server else ("stowage.db", "work.db")
    for word in ("Health", "Runner", "Encryption key", *databases, "/readyz", "bucket-one"):
        assert word in page
    assert 'class="count bad">1' in page
    for window in ("24h", "30d", "nonsense"):
        assert admin.get(f"/health?window={window}").status_code == 200
    assert admin.htmx("/health/check", now="yes").location == "/health/live"
