"""Known secrets, looked for in every form in every place they could have leaked to."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from dashboard.errors import StowageError
from dashboard.services.backends.backends import Draft
from dashboard.services.permissions import Role
from dashboard.storage.types import Secret
from tests.servers.faults import FaultProxy
from tests.servers.s3 import KeyPair
from tests.servers.seaweedfs import SeaweedFS
from tests.services.console import ADMIN, ServiceConsole, started
from tests.services.database_file import everything_in

CANARY = "canary+/=7Q2x&hunter2 %zz".replace(" ", "_") + "0123456789abcdef"
PASSWORD = "canary-pässword+/=42-of-ada"


def forms(secret: str) -> dict[str, bytes]:
    """The secret as it might be written down by mistake."""
    raw = secret.encode()
    found = {
        "raw": raw,
        "url": quote(secret, safe="").encode(),
        "form": quote_plus(secret).encode(),
        "json": secret.encode("unicode_escape"),
        "hex": raw.hex().encode(),
        "utf-16": secret.encode("utf-16-le"),
    }
    for shift in range(3):
        # Base64 of a longer text holds ours at one of three offsets; its ends mix with the neighbours.
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            found[f"{name}+{shift}"] = encode(b"\0" * shift + raw)[4:-4]
    return found


def assert_absent(secret: str, where: str, content: bytes) -> None:
    for form, needle in forms(secret).items():
        assert needle not in content, f"{form} of a secret in {where}"


@pytest.fixture
def raised() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Calls something that is to fail and keeps everything its failure shows."""
    texts: list[str] = []

    def call(deed: Callable[[], object]) -> None:
        with pytest.raises(StowageError) as caught:
            deed()
        error = caught.value
        texts.extend((str(error), repr(error), repr(error.args), repr(error.as_dict())))
        texts.append("".join(traceback.format_exception(error)))
        # What crash reporters send: the values in the frames. Plain strings are on their way into a
        # Secret or out of one there; inside anything else there must be none.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "dashboard" in frame.f_code.co_filename:
                held = {k: v for k, v in frame.f_locals.items() if not isinstance(v, str | bytes)}
                texts.append(repr(held))

    yield call
    assert texts
    assert_absent(CANARY, "exceptions", "\n".join(texts).encode("utf-8", "replace"))


def test_secrets_are_found_nowhere(
    console: ServiceConsole,
    instance: Path,
    seaweedfs: SeaweedFS,
    fault_proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
    raised: Callable[[Callable[[], object]], None],
) -> None:
    caplog.set_level(logging.DEBUG)
    for chatty in ("botocore", "urllib3"):
        # Other tests silence them for the whole process, as a console does.
        caplog.set_level(logging.DEBUG, logger=chatty)
    services = console.services
    wrong = KeyPair("wrong", seaweedfs.admin.access_key, CANARY)
    options = {
        "endpoint": seaweedfs.endpoint,
        "bucket": seaweedfs.new_bucket(),
        "access_key_id": wrong.access_key,
    }
    draft = Draft("media", "minio", options, {"secret_access_key": Secret(CANARY)})
    again = replace(draft, existing="media", secrets={})

    # Saved, tested, counted and rotated, with a server that refuses it and one that breaks.
    shown = [repr(services.backends.add(ADMIN, draft)), repr(draft)]
    shown += [repr(step) for step in services.probes.run(ADMIN, "media")]
    shown += [repr(step) for step in services.probes.run(ADMIN, draft)]
    services.checks.check_backend(services.backends.get("media").id)
    raised(lambda: services.checks.count_backend(services.backends.get("media").id, lambda: False))
    raised(lambda: next(services.backends.driver("media").list()))
    raised(lambda: services.backends.driver("media").put("a", b"a"))
    raised(
        lambda: services.probes.create_bucket(ADMIN, replace(again, options=options | {"bucket": "n" * 40}))
    )
    raised(
        lambda: services.backends.edit(
            ADMIN, replace(again, options=options | {"endpoint": "http://evil.example"})
        )
    )
    raised(lambda: services.backends.add(ADMIN, draft))
    raised(
        lambda: services.backends.add(
            ADMIN, replace(draft, name="x", secrets={"secret_access_key": Secret(CANARY + "\n")})
        )
    )
    misplaced = replace(draft, name="x", options=options | {"secret_access_key": CANARY})
    with pytest.raises(StowageError) as caught:
        services.backends.add(ADMIN, misplaced)
    assert_absent(CANARY, "a refusal", "".join(traceback.format_exception(caught.value)).encode())
    raised(
        lambda: services.backends.add(ADMIN, replace(draft, name="x", secrets={"nonsense": Secret(CANARY)}))
    )
    closed = replace(draft, name="closed", options=options | {"endpoint": "http://127.0.0.1:1"})
    shown.append(repr(services.backends.add(ADMIN, closed)))
    raised(lambda: next(services.backends.driver("closed").list()))
    rotation = services.keys.rotate(ADMIN)
    shown.append(repr(rotation))
    services.backends.edit(ADMIN, again)

    # People, their passwords and tokens.
    services.accounts.add(ADMIN, "carl", PASSWORD, Role.VIEWER)
    token = services.accounts.sign_in("carl", PASSWORD, "192.0.2.7")
    raised(lambda: services.accounts.sign_in(CANARY, CANARY, "192.0.2.8"))
    raised(lambda: services.accounts.add(ADMIN, "dora", CANARY * 30, Role.VIEWER))
    raised(lambda: services.keys.restore(ADMIN, CANARY))

    # Sealed: what cannot be opened must not be shown either.
    console.settings.key_file.rename(instance / "elsewhere")
    raised(lambda: services.backends.driver("media"))
    with started(instance) as other:
        raised(lambda: other.services.backends.driver("media"))
    (instance / "elsewhere").rename(console.settings.key_file)

    # Removed: deleted rows linger in free pages and the write-ahead log.
    services.backends.remove(ADMIN, "media")
    shown += [repr(row) for row in services.audit.rows(limit=500)]
    assert len(shown) > 20

    recovery = rotation.recovery_key
    for secret in (CANARY, PASSWORD, token, recovery, recovery.replace("-", "")):
        files = [path for path in instance.rglob("*") if path.is_file() and path != console.settings.key_file]
        assert console.database.on_server or any(path.name.endswith("-wal") for path in files)
        if console.database.on_server:
            for engine in (console.database.main, console.database.work):
                assert_absent(secret, "the database", everything_in(engine).encode())
        for path in files:
            assert_absent(secret, path.name, path.read_bytes())
        assert_absent(secret, "the log", caplog.text.encode())
        assert_absent(secret, "what was shown", "\n".join(shown).encode())
    assert caplog.records, "the log was looked at"
