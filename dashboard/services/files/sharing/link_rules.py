"""What may be shared, by whom, and who may open it: the rules of links."""

from __future__ import annotations

import ipaddress

from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.console import User
from dashboard.models.sharing import FileLink
from dashboard.services.files.sharing.link_uses import Recipient
from dashboard.services.people.passwords import USERNAME
from dashboard.services.permissions import GRANTS, Actor, Permission, Role

MAX_SECONDS = 365 * 86_400
MAX_USES = 1_000_000


class SignInRequired(StowageError):
    """The link is for one person, and nobody is signed in."""

    def __init__(self) -> None:
        super().__init__(
            Kind.FORBIDDEN,
            "This link is for one person only.",
            operation="open link",
            remedy="Sign in, then open it again.",
        )


def check_limits(seconds: int, uses: int | None) -> None:
    if not 1 <= seconds <= MAX_SECONDS:
        raise InvalidInput(
            "seconds", f"A link lasts from one second to {MAX_SECONDS // 86_400} days.", remedy="Choose less."
        )
    if uses is not None and not 1 <= uses <= MAX_USES:
        raise InvalidInput("uses", f"The number of uses is from 1 to {MAX_USES:,}, or unlimited.")


def parse_network(text: str) -> str:
    """An address or a network, in its shortest form; empty if there is none."""
    text = text.strip()
    if not text:
        return ""
    try:
        parsed = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidInput(
            "network", "This is not an address.", remedy="Type one such as 192.0.2.7 or 192.0.2.0/24."
        ) from None
    return str(parsed.network_address) if parsed.num_addresses == 1 else str(parsed)


def _is_in_network(address: str, network: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed in ipaddress.ip_network(network)


def account_id(session: Session, actor: Actor) -> int | None:
    """The actor's account; None for the command line, whose user can read the key file."""
    if actor.via == "cli":
        return None
    user = session.scalar(select(User).where(User.username == actor.name))
    if user is None or user.disabled:
        raise StowageError(
            Kind.FORBIDDEN, "Only somebody with an account can share files.", operation="create link"
        )
    return user.id


def check_user(session: Session, actor: Actor, username: str) -> None:
    if not username:
        return
    known = USERNAME.fullmatch(username) is not None
    # Others could find out by this who has an account.
    if known and actor.may(Permission.USERS):
        known = session.scalar(select(User.id).where(User.username == username)) is not None
    if not known:
        raise InvalidInput("user", "There is no such user.", remedy="Type the name they sign in with.")


def check_creator(session: Session, link: FileLink) -> None:
    if link.user_id is None:
        return
    user = session.get(User, link.user_id)
    if user is None or user.disabled or Permission.READ_FILES not in GRANTS[Role(user.role)]:
        raise StowageError(
            Kind.FORBIDDEN,
            "The person who sent this link may no longer share this file.",
            operation="open link",
            remedy="Ask somebody else for the file.",
        )


def check_recipient(link: FileLink, recipient: Recipient) -> None:
    if link.network and not _is_in_network(recipient.address, link.network):
        raise StowageError(
            Kind.FORBIDDEN,
            "This link cannot be used from your network.",
            operation="open link",
            remedy="Open it from the network it was made for, or ask for another one.",
        )
    if link.username and not recipient.username:
        raise SignInRequired
    if link.username and link.username != recipient.username:
        raise StowageError(
            Kind.FORBIDDEN,
            "This link is for somebody else.",
            operation="open link",
            remedy="Sign in as the person it was made for, or ask for a link of your own.",
        )
