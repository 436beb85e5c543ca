"""Who may read one object: its canned ACL.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
"""

from __future__ import annotations

from dashboard.storage.drivers.s3.client import SignedClient, parsed
from dashboard.storage.types import Visibility

_EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
_CANNED = {Visibility.PUBLIC: "public-read", Visibility.PRIVATE: "private"}


def visibility(client: SignedClient, key: str, full: str) -> Visibility:
    """What the object's grants say. Raises ``NotFound``."""
    scene = client.scene("visibility", key)
    answer = client.send("GET", scene, key=full, query={"acl": ""})
    grants = parsed(answer.body, scene).iter("Grant")
    public = any(
        grant.findtext("Grantee/URI") == _EVERYBODY
        and grant.findtext("Permission") in ("READ", "FULL_CONTROL")
        for grant in grants
    )
    return Visibility.PUBLIC if public else Visibility.PRIVATE


def set_visibility(client: SignedClient, key: str, full: str, wanted: Visibility) -> None:
    """Replace the object's grants. Raises ``NotFound``."""
    scene = client.scene("set visibility", key)
    client.send("PUT", scene, key=full, query={"acl": ""}, headers={"x-amz-acl": _CANNED[wanted]})
