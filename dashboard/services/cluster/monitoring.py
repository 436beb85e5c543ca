"""Flower, which shows queues, workers and their tasks in a browser: behind a password, for looking only."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from flower.app import Flower
from flower.options import default_options
from flower.urls import settings as flower_settings

from dashboard.services.cluster.messages import make_app
from dashboard.storage.types import Secret

MAX_TASKS = 10_000
"""Tasks that it remembers, the newest."""
FORGET_SECONDS = 3600
"""After which workers that are gone are not shown any more."""
HIDDEN = ("/metrics", "/api/task/", "/api/worker/")
"""Addresses that do not exist here: what Flower tells anyone, and what it does to workers and tasks. The
console stops jobs: it knows what that means."""


@dataclass(frozen=True, slots=True)
class FlowerAddress:
    """Where Flower listens, and who may look."""

    host: str
    port: int
    user: str
    password: Secret = field(repr=False)


def make_flower(broker_url: str, address: FlowerAddress) -> Any:
    """Return Flower's web application. Opens nothing."""
    options = default_options
    options.address = address.host
    options.port = address.port
    # In this process's memory only: neither in its arguments nor in its environment.
    options.basic_auth = [f"{address.user}:{address.password.reveal()}"]
    options.read_only = True
    options.max_tasks = MAX_TASKS
    options.purge_offline_workers = FORGET_SECONDS
    application = Flower(capp=make_app(broker_url), options=options, **flower_settings)
    router = application.wildcard_router
    router.rules = [rule for rule in router.rules if not _is_hidden(rule)]
    return application


def show(broker_url: str, address: FlowerAddress, announce: Callable[[str], None]) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then exit. Raises ``OSError`` if the port cannot be used."""
    application = make_flower(broker_url, address)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    port = application.start_http_server()
    host = f"[{address.host}]" if ":" in address.host else address.host
    announce(f"Flower is at http://{host}:{port}, for “{address.user}” and the password")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: sys.exit(0))
    try:
        application.start()
    finally:
        application.stop()
    sys.exit(0)


def _is_hidden(rule: Any) -> bool:
    return bool(rule.matcher.regex.pattern.startswith(HIDDEN))
