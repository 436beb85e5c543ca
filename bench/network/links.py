"""Ways to reach the server: directly, a round trip away, and over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from bench.network.delay import DelayingProxy
from tests.servers.seaweedfs import SeaweedFS

ROUND_TRIP = 0.02
"""Seconds."""
LINKS: dict[str, str] = {"0ms": "directly", "20ms": "20 ms away", "tls": "over TLS"}
ONCE = frozenset({"tls"})
"""These are measured in the first round only."""


@dataclass(frozen=True)
class Link:
    """One way to the server. ``authority``: the file of the certificate to trust, if it takes one."""

    name: str
    endpoint: str
    authority: Path | None = None


@dataclass(frozen=True)
class Certificate:
    """A certificate for this machine, made just now, which nobody trusts by default."""

    authority: Path
    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Write one to a folder."""
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1", "localhost")
    made = Certificate(*(folder / name for name in ("authority.pem", "certificate.pem", "key.pem")))
    authority.cert_pem.write_to_path(str(made.authority))
    pair.cert_chain_pems[0].write_to_path(str(made.certificate))
    pair.private_key_pem.write_to_path(str(made.key))
    return made


@contextmanager
def open_link(name: str, server: SeaweedFS, certificate: Certificate) -> Iterator[Link]:
    """Open a way to the server."""
    if name == "20ms":
        address = urlsplit(server.endpoint)
        assert address.hostname
        assert address.port
        with DelayingProxy(address.hostname, address.port, ROUND_TRIP) as proxy:
            yield Link(name, f"http://{proxy.host}:{proxy.port}")
    elif name == "tls":
        yield Link(name, server.secure_endpoint, certificate.authority)
    else:
        yield Link(name, server.endpoint)
