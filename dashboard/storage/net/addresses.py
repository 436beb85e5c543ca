"""The address policy: which network addresses a backend may have.

Private ranges are allowed: people keep MinIO and NAS boxes there. Link-local and cloud metadata
addresses are always refused, in every disguise, because a console that can be pointed at them
hands out its machine's own credentials. Callers check twice: what was typed (:func:`host_refusal`)
and what the name resolved to (:func:`address_refusal`).
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, GCP, Azure, DigitalOcean, OpenStack and most others
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS Pod Identity
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS Pod Identity
        "fd20:ce::254",  # GCP
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "fd00:c1::a9fe:a9fe",  # Oracle Cloud
        "fd00:42::42",  # Scaleway
        "168.63.129.16",  # Azure WireServer
    )
)
_PROVIDER_NETWORKS = (
    # Name servers, clocks and identity services of one provider, next to the metadata service.
    IPv6Network("fd00:ec2::/32"),  # AWS
    IPv6Network("fd20:ce::/32"),  # GCP
)
METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)

# Ranges whose last 32 bits are an IPv4 address (RFC 4291, RFC 6052); 6to4, Teredo and
# ISATAP are taken apart by hand below.
_EMBEDS_IPV4_LAST = (
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("64:ff9b::/96"),
)
# Only the local translator knows where the IPv4 address is in it (RFC 8215).
_TRANSLATED_LOCALLY = IPv6Network("64:ff9b:1::/48")
_PROTOCOLS = IPv4Network("192.0.0.0/24")
"""For protocols between machines of one network (RFC 6890): translators, relays, Oracle's metadata."""
_BROADCAST = IPv4Address("255.255.255.255")
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")


def parse_ip(host: str) -> IPv4Address | IPv6Address | None:
    """Parse a host as an IP address; None if it is a name.

    Understands what the C library would: ``0xa9fea9fe``, ``2852039166``, ``0251.0376.43518``, and
    IPv6 with brackets or a zone.
    """
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        return ip_address(bare)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(bare.removesuffix(".")))
    except (OSError, ValueError):
        return None


def _hidden_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Every IPv4 address embedded in an IPv6 address."""
    found = [IPv4Address(int(address) & 0xFFFFFFFF)] if any(address in n for n in _EMBEDS_IPV4_LAST) else []
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if (int(address) >> 32) & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE):  # ISATAP, RFC 5214
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(found)


def address_refusal(address: str) -> str:
    """Why connecting to this numeric address is forbidden; empty if it is allowed."""
    parsed = parse_ip(address)
    if parsed is None:
        return f"“{address}” is not a network address."
    hidden = _hidden_ipv4(parsed) if isinstance(parsed, IPv6Address) else ()
    # ::1 is in the IPv4-compatible range, but embeds no address.
    candidates = (parsed,) if parsed.is_loopback else (parsed, *hidden)
    for candidate in candidates:
        if what := _forbidden_kind(candidate):
            return f"{address} is {what}"
    return ""


def _forbidden_kind(address: IPv4Address | IPv6Address) -> str:
    """What kind of forbidden address this is; empty if it can be a server's."""
    if address in METADATA or any(address in network for network in _PROVIDER_NETWORKS):
        return "a cloud metadata address. Stowage never connects to those."
    if address.is_link_local:
        return "a link-local address. Stowage never connects to those."
    if isinstance(address, IPv6Address):
        if address.is_site_local:
            return "a site-local address. Stowage never connects to those."
        if address in _TRANSLATED_LOCALLY:
            return "translated to one that only the network knows. Write the server's own address."
    one_server = not (address.is_multicast or address.is_unspecified or address == _BROADCAST)
    if isinstance(address, IPv4Address):
        one_server = one_server and address not in _THIS_NETWORK and address not in _PROTOCOLS
    return "" if one_server else "not the address of one server."


def host_refusal(host: str) -> str:
    """Why this host, as typed, is forbidden; empty if it is allowed. Makes no network call."""
    if not host:
        return "The host name is missing."
    if not host.isascii():
        return f"“{host}” has letters outside ASCII; write the name in its “xn--” form."
    if parse_ip(host) is not None:
        return address_refusal(host)
    name = host.lower().removesuffix(".")
    if name in METADATA_NAMES:
        return f"{host} is a cloud metadata address. Stowage never connects to those."
    if len(name) > 253 or not all(_LABEL.match(label) for label in name.split(".")):
        return f"“{host}” is not a host name."
    return ""
