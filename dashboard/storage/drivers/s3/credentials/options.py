"""The options for signing in, their checks, and which servers receive this machine's credentials. Loads no
vendor SDK."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.options import Option, OptionType
from dashboard.storage.types import Secret

SIGN_IN, KEY, MACHINE, ROLE = "sign_in", "key", "machine", "role"
_T = OptionType
_KEYS = (SIGN_IN, (KEY, ROLE))
_ROLE = (SIGN_IN, (ROLE,))

SIGN_IN_OPTIONS = (
    Option("access_key_id", "Access key ID", required_with=(SIGN_IN, KEY), shown_with=_KEYS),
    Option(
        "secret_access_key",
        "Secret access key",
        _T.SECRET,
        required_with=(SIGN_IN, KEY),
        unused_with=(SIGN_IN, MACHINE),
        shown_with=_KEYS,
    ),
    Option(
        "session_token",
        "Session token",
        _T.SECRET,
        advanced=True,
        unused_with=(SIGN_IN, MACHINE),
        shown_with=_KEYS,
        hint="Only for temporary credentials, which stop working when they expire.",
    ),
    Option(
        SIGN_IN,
        "Sign in with",
        _T.CHOICE,
        advanced=True,
        default=KEY,
        choices=(
            (KEY, "The access key"),
            (MACHINE, "This machine's credentials"),
            (ROLE, "A role that is assumed"),
        ),
        guards_secret=True,
        hint="This machine's credentials are those of its environment, its AWS profile (SSO included) or the "
        "role of its instance, container or pod. Without an access key they also assume the role.",
    ),
    Option(
        "profile",
        "Profile",
        advanced=True,
        shown_with=(SIGN_IN, (MACHINE, ROLE)),
        placeholder="default",
        hint="A profile of this machine's AWS configuration, for its credentials.",
    ),
    Option(
        "role_arn",
        "Role",
        advanced=True,
        required_with=(SIGN_IN, ROLE),
        shown_with=_ROLE,
        placeholder="arn:aws:iam::123456789012:role/stowage",
        hint="ARN of the role to assume.",
    ),
    Option(
        "external_id",
        "External ID",
        advanced=True,
        shown_with=_ROLE,
        hint="If the role's trust policy requires one.",
    ),
    Option(
        "session_name",
        "Session name",
        advanced=True,
        shown_with=_ROLE,
        placeholder="stowage",
        hint="The session's name in the provider's logs.",
    ),
)

_REGION = r"[a-z]{2,4}(-[a-z]+)+-\d"
# https://docs.aws.amazon.com/general/latest/gr/s3.html. Not all of amazonaws.com is Amazon's own: customers'
# machines and programs have names there.
_S3 = re.compile(
    rf"((bucket\.)?vpce-[a-z0-9-]+\.s3\.{_REGION}\.vpce"
    rf"|s3(-accelerate|-fips|-{_REGION})?(\.dualstack)?(\.{_REGION})?)"
    r"\.amazonaws\.(com(\.cn)?|eu)"
)
_KEY_ID = re.compile(r"[\x21-\x7e]{1,256}")
_FORMS = {
    "profile": (re.compile(r"[A-Za-z0-9._@+=:/-]{1,128}"), "A profile is named without spaces."),
    "role_arn": (
        re.compile(r"arn:[\w-]+:[\w-]+:[\w-]*:[\w-]*:[\x21-\x7e]{1,512}", re.ASCII),
        "A role is named by its ARN, such as arn:aws:iam::123456789012:role/stowage.",
    ),
    # https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    "external_id": (
        re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII),
        "An external ID has 2 to 1,224 letters, digits and + = , . @ : / - _.",
    ),
    "session_name": (
        re.compile(r"[\w+=,.@-]{2,64}", re.ASCII),
        "A session's name has 2 to 64 letters, digits and + = , . @ - _.",
    ),
}
_USED_BY = {
    "access_key_id": (KEY, ROLE),
    "profile": (MACHINE, ROLE),
    "role_arn": (ROLE,),
    "external_id": (ROLE,),
    "session_name": (ROLE,),
}


def check_sign_in(values: Mapping[str, str]) -> None:
    """Raise ``InvalidInput`` for a malformed value, and for one that the chosen way to sign in would ignore,
    since anyone who enters it expects it to be used."""
    labels = {option.name: option.label for option in SIGN_IN_OPTIONS}
    ways = next(dict(option.choices) for option in SIGN_IN_OPTIONS if option.name == SIGN_IN)
    for name, users in _USED_BY.items():
        if values[name] and values[SIGN_IN] not in users:
            raise InvalidInput(
                name,
                f"“{labels[name]}” is not used with “{ways[values[SIGN_IN]]}”.",
                remedy=f"Leave it empty, or choose “{ways[users[-1]]}” under “{labels[SIGN_IN]}”.",
            )
    if values["profile"] and values["access_key_id"]:
        raise InvalidInput(
            "profile",
            "The role is assumed with the access key, so no profile is used.",
            remedy="Empty one of them.",
        )
    if values["access_key_id"] and not _KEY_ID.fullmatch(values["access_key_id"]):
        raise InvalidInput("access_key_id", "The access key ID contains spaces or other invalid characters.")
    for name, (form, sentence) in _FORMS.items():
        if values[name] and not form.fullmatch(values[name]):
            raise InvalidInput(name, sentence)


def check_key_pair(values: Mapping[str, str], secrets: Mapping[str, Secret]) -> None:
    """Raise ``InvalidInput`` for an access key without its secret."""
    if values["access_key_id"] and not secrets.get("secret_access_key"):
        raise InvalidInput("secret_access_key", "The secret of this access key is missing.")


def machine_credentials_to(options: Mapping[str, str]) -> tuple[str, ...]:
    """See ``DriverType``. Amazon's own S3 is ``aws``, but only over verified TLS. A role that the machine
    assumes counts as the machine."""
    way = options.get(SIGN_IN, KEY)
    if way == KEY or (way == ROLE and options.get("access_key_id")):
        return ()
    endpoint = urlsplit(options["endpoint"])
    host, secure = endpoint.hostname or "", options.get("tls_verify") != "false"
    if is_amazon_s3(options["endpoint"]) and endpoint.scheme == "https" and secure:
        return ("aws", host)
    return (endpoint.netloc.lower(), host)


def is_amazon_s3(endpoint: str) -> bool:
    """Whether the host of an address is one of Amazon S3's own."""
    return _S3.fullmatch((urlsplit(endpoint).hostname or "").lower()) is not None
