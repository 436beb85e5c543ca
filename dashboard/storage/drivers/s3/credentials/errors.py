"""Errors of boto3 and STS.

Their own messages may name files and programs of this machine, so they appear only as the chained cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.credentials.sign_in import AssumedRole, MachineCredentials, SignIn, Sts
from dashboard.storage.errors import Row, StorageError
from dashboard.storage.net.failures import SLOW_DOWN, ErrorContext, ErrorTable, RequestFailure

_ACCESS_KEY = "Or sign in with an access key."
_TRY_CLI = "Try, as the user that runs Stowage: aws sts get-caller-identity{flag}."
_CHAIN = {
    # By the class name of an exception of botocore, or of one that it lets through.
    "ProfileNotFound": (
        "This machine's AWS configuration has no profile {profile}.",
        "Create it with “aws configure”, as the user that runs Stowage, or enter another.",
    ),
    "SSOError": (
        "This machine's sign-in to AWS (SSO) has ended.",
        "Run, as the user that runs Stowage: aws sso login{flag}",
    ),
    "LoginError": (
        "This machine's sign-in to AWS has ended.",
        "Run, as the user that runs Stowage: aws login{flag}",
    ),
    "PartialCredentialsError": (
        "Half of a key pair is set on this machine, and the other half is missing.",
        "Set both the access key ID and the secret, or neither.",
    ),
    "InvalidConfigError": ("This machine's AWS configuration cannot be understood.", _TRY_CLI),
    "EOFError": (
        "This machine's profile requires an MFA code, which Stowage cannot enter.",
        "Use a profile without “mfa_serial”.",
    ),
}
_CHAIN["TokenRetrievalError"] = _CHAIN["SSOError"]
_CHAIN["RefreshWithMFAUnsupportedError"] = _CHAIN["EOFError"]
_CHAIN["ConfigParseError"] = _CHAIN["UnknownCredentialError"] = _CHAIN["InvalidConfigError"]
_UNREACHABLE = frozenset({"HTTPClientError", "ConnectionError"})
_PROVIDERS = {
    "container-role": "the container's role",
    "iam-role": "the instance's role",
    "custom-process": "the program that its profile names",
}
_SSO_ENDED = frozenset({"UnauthorizedException", "ForbiddenException"})


def _refused(failure: RequestFailure, context: ErrorContext) -> Row:
    if context.operation != ASSUME:
        return Row(
            Kind.DENIED, "{host} does not tell whose credentials these are.", "Nothing else needs that."
        )
    required = "this external ID" if context.key else "no external ID"
    return Row(
        Kind.DENIED,
        "{host} does not let these credentials assume the role {container}.",
        f"Its trust policy must name their user or role and require {required}. They need sts:AssumeRole.",
    )


ASSUME = "assume role"
STS = ErrorTable[RequestFailure, ErrorContext](
    # https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    speaks="STS",
    container_missing=Row(
        Kind.NOT_FOUND, "{host} does not support roles: it has no STS.", "Sign in with an access key."
    ),
    rules={
        "AccessDenied": _refused,
        "ExpiredToken": Row(
            Kind.BAD_CREDENTIALS,
            "The credentials to sign in with have expired.",
            "Renew them, or use a permanent access key.",
        ),
        "InvalidAccessKeyId": Row(
            Kind.BAD_CREDENTIALS, "{host} does not know this access key ID.", "Copy the access key ID again."
        ),
        "SignatureDoesNotMatch": Row(
            Kind.BAD_CREDENTIALS, "The secret access key is wrong.", "Copy the secret again."
        ),
        "RegionDisabledException": Row(
            Kind.BAD_CREDENTIALS,
            "STS is disabled in this region.",
            "Enable it in the IAM console under Account settings.",
        ),
        "ValidationError": Row(
            Kind.BAD_CREDENTIALS,
            "{host} does not accept the role, its external ID or the session's name.",
            "Copy them again.",
        ),
        "Throttling": SLOW_DOWN,
        "4xx": Row(
            Kind.BAD_CREDENTIALS, "{host} refused the sign-in{code}.", "Check the role and the access key."
        ),
    },
    aliases={
        "AccessDeniedException": "AccessDenied",
        "ExpiredTokenException": "ExpiredToken",
        "InvalidClientTokenId": "InvalidAccessKeyId",
        "UnrecognizedClientException": "InvalidAccessKeyId",
        403: "AccessDenied",
    },
)


def sts_context(sts: Sts, asks: SignIn) -> ErrorContext:
    """What was being asked of STS, and with whose credentials. Its key is the external ID."""
    host = urlsplit(sts.endpoint).netloc or f"STS in {sts.region}"
    if isinstance(asks, AssumedRole):
        return ErrorContext(ASSUME, asks.external_id, asks.role, host)
    return ErrorContext("identity", "", "", host)


def no_credentials_error(sign_in: MachineCredentials) -> StorageError:
    """Return the error for a machine without credentials.
    https://docs.aws.amazon.com/boto3/latest/guide/credentials.html"""
    profile = f"the profile {_quoted(sign_in)}" if sign_in.profile else "the default profile"
    environment = "" if sign_in.profile else "the environment (AWS_ACCESS_KEY_ID and others), "
    return _error(
        "No AWS credentials were found on this machine.",
        f"Checked: {environment}{profile} in ~/.aws of the user that runs Stowage, a web identity, the "
        f"container's role and the instance's role. {_ACCESS_KEY}",
    )


def chain_error(kinds: Sequence[str], provider: str, sign_in: SignIn) -> StorageError:
    """Return the error for an exception of botocore's provider chain. ``kinds``: the names of its classes,
    most specific first. ``provider``: the one that failed."""
    if _UNREACHABLE & set(kinds):
        reason = "The service that provides this machine's AWS credentials does not respond."
        return StorageError(Kind.UNREACHABLE, reason, operation="sign in", remedy="Try again in a moment.")
    machine = sign_in.source if isinstance(sign_in, AssumedRole) else sign_in
    if not isinstance(machine, MachineCredentials):
        return _error("The response of STS is malformed.", "Check the endpoint and the role.")
    place = _PROVIDERS.get(provider, "what its AWS configuration names")
    unknown = (f"This machine gets no AWS credentials from {place}.", f"{_TRY_CLI} {_ACCESS_KEY}")
    reason, remedy = next((_CHAIN[kind] for kind in kinds if kind in _CHAIN), unknown)
    flag = f" --profile {machine.profile}" if machine.profile else ""
    return _error(reason.replace("{profile}", _quoted(machine)), remedy.replace("{flag}", flag))


def service_error(failure: RequestFailure, operation: str, sign_in: SignIn, sts: Sts) -> StorageError:
    """Return the error for a refusal by STS, or by another service that this machine's profile uses."""
    if operation == "GetRoleCredentials" and failure.code in _SSO_ENDED:
        return chain_error(("SSOError",), "", sign_in)
    return STS.translate(failure, sts_context(sts, sign_in))


def _quoted(machine: MachineCredentials) -> str:
    return f"“{machine.profile}”" if machine.profile else "of the name in AWS_PROFILE"


def _error(reason: str, remedy: str) -> StorageError:
    return StorageError(Kind.BAD_CREDENTIALS, reason, operation="sign in", remedy=remedy)
