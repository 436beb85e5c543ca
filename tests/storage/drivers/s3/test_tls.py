"""Objects over TLS: whole in both directions, over connections that serve again and again."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.net.http1 import ConnectionPool
from dashboard.storage.types import Secret
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.objects import content_of, get, stream

THREADS = 4
FOR_PARTS = 12


def test_objects_go_both_ways_over_kept_tls_connections(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    connected, opened = ConnectionPool._connect, list[int]()
    monkeypatch.setattr(
        ConnectionPool, "_connect", lambda self, age: opened.append(age) or connected(self, age)
    )
    contents = {f"{size}-{n}": content_of(size, n) for size in (0, 1, 70_000) for n in range(10)}
    contents["large"] = content_of(20_000_000)
    with FaultProxy(seaweedfs.endpoint, tls=context) as proxy:
        options = {
            "endpoint": proxy.endpoint,
            "bucket": seaweedfs.new_bucket(),
            "access_key_id": seaweedfs.admin.access_key,
            "ca_certificate": authority.cert_pem.bytes().decode(),
        }
        driver = S3Driver.from_options(options, {"secret_access_key": Secret(seaweedfs.admin.secret_key)})

        def there_and_back(key: str) -> bool:
            stream(driver, key, contents[key])
            return get(driver, key) == contents[key]

        with ThreadPoolExecutor(THREADS) as threads:
            assert all(threads.map(there_and_back, contents))
        listed = {entry.key: entry.size for entry in driver.list()}
        driver.close()
    assert listed == {key: len(data) for key, data in contents.items()}
    assert len(opened) <= THREADS + FOR_PARTS
