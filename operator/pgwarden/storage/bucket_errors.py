"""What a bucket server's refusal, or its silence, means and what to do about it.

The codes are those of the S3 API's "Error responses", which other servers and Google's XML API use as well, and those
of Azure's "Blob service error codes". Of an
answer only code and message are repeated: the rest holds the string to sign and identifiers.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from pgwarden.jobs.errors import TaskError


@dataclass(frozen=True)
class Meaning:
    reason: str
    what: str
    remedy: str
    retryable: bool = False


_KEYS = Meaning(
    "StoreCredentialsRejected",
    "does not accept the credentials",
    "Check the keys in the BackupStore's Secret; the clock of the node must be right, too.",
)
_BUCKET = Meaning(
    "BucketNotFound",
    "has no such bucket",
    "Create the bucket, or correct its name (and path style or virtual-host style) in the BackupStore.",
)
_FULL = Meaning("StoreFull", "is full", "Give the store more space or quota, or remove what is not needed.")
_DENIED = Meaning(
    "StoreAccessDenied",
    "denies access",
    "Let these credentials get, put, list and delete objects below the prefix, and abort multipart uploads.",
)
_LOCKED = Meaning(
    "ObjectLocked",
    "holds what is in it (object lock, or a retention rule)",
    "This is as it should be where objects are to be safe from everybody: delete them when that has run out.",
)
_CLOCK = Meaning(
    "ClockSkewed",
    "says that the clock of the node and its own are too far apart",
    "Set the node's clock right (NTP), or the server's: requests are signed with the time.",
)
_REGION = Meaning("StoreMisconfigured", "belongs to another region", "Set the region in the BackupStore.")
_BUSY = Meaning(
    "StoreUnreachable",
    "is overloaded or broken",
    "It is tried again by itself; when it stays so, look at the storage server.",
    retryable=True,
)
CODES = {
    "AccessDenied": _DENIED,
    "AccountProblem": _DENIED,
    "AccountIsDisabled": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthenticationFailed": _KEYS,
    "AuthorizationFailure": _DENIED,
    "AuthorizationHeaderMalformed": _REGION,
    "AuthorizationPermissionMismatch": _DENIED,
    "BlobImmutableDueToPolicy": _LOCKED,
    "ContainerBeingDeleted": _BUCKET,
    "ContainerNotFound": _BUCKET,
    "ExpiredToken": _KEYS,
    "InsufficientStorage": _FULL,
    "InternalError": _BUSY,
    "InvalidAccessKeyId": _KEYS,
    "InvalidSecurity": _KEYS,
    "InvalidToken": _KEYS,
    "InsufficientAccountPermissions": _DENIED,
    "NoSuchBucket": _BUCKET,
    "NotSignedUp": _KEYS,
    "PermanentRedirect": _REGION,
    "OperationTimedOut": _BUSY,
    "QuotaExceeded": _FULL,
    "RequestTimeTooSkewed": _CLOCK,
    "RetentionPolicyNotMet": _LOCKED,
    "ServerBusy": _BUSY,
    "ServiceUnavailable": _BUSY,
    "SignatureDoesNotMatch": _KEYS,
    "SlowDown": _BUSY,
    "XAdminUserNotFound": _KEYS,  # versitygw
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
}
STATUSES = {"401": _KEYS, "403": _DENIED, "500": _BUSY, "502": _BUSY, "503": _BUSY, "504": _BUSY, "507": _FULL}

_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{0,500})</Message>")
# Several objects are deleted by one request, which succeeds as a whole: what became of each stands in its answer.
_CODE_OF_ONE = re.compile(r"request failed for key [^\n]*\(code: (\w+)\)")
_MESSAGE_OF_ONE = re.compile(r"request failed for key \S+: ([^\n]{0,500}) \(code: \w+\)")
_HELD = re.compile(r"object lock|retention|immutab|legal hold", re.IGNORECASE)
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_DATES = re.compile("NotValidYet|Expired")
_NO_IDENTITY = re.compile(
    r"instance.metadata|metadata\.google\.internal|169\.254\.169\.254|InstanceCredential|ImdsManaged"
)
_CUT = re.compile(r"IncompleteMessage|ConnectionReset|BrokenPipe|UnexpectedEof")
_UNREACHABLE = (
    (re.compile(r'"failed to lookup address[^"]*"'), "its name cannot be resolved"),
    (re.compile("ConnectionRefused"), "nothing listens on that port"),
    (re.compile(r"TimedOut|operation timed out"), "it did not answer in time"),
    (_CUT, "it closed the connection"),
    (re.compile(r"HostUnreachable|NetworkUnreachable"), "there is no route to it"),
    (re.compile("InvalidContentType|InvalidMessage"), "it does not speak TLS on that port"),
)


def bucket_error(store: str, path: str, error: Exception) -> TaskError | None:
    """The TaskError for an error of the client library; None when it only says that the object does not exist."""
    text = str(error)
    code, status = _found(_CODE, text) or _found(_CODE_OF_ONE, text), _found(_STATUS, text)
    if code in ("NoSuchKey", "BlobNotFound") or (status == "404" and not code):
        return None
    said = html.unescape(_found(_MESSAGE, text) or _found(_MESSAGE_OF_ONE, text))
    meaning = CODES.get(code) or STATUSES.get(status)
    if meaning is _DENIED and _HELD.search(said):
        meaning = _LOCKED
    if meaning is not None:
        detail = " ".join(part for part in (code, said) if part) or f"HTTP status {status}"
        return TaskError(
            meaning.reason,
            f"the {store} {meaning.what}{_about(path)}: {detail}",
            remedy=meaning.remedy,
            retryable=meaning.retryable,
        )
    if _NO_IDENTITY.search(text):
        return TaskError(
            "StoreCredentialsRejected",
            f"the {store} needs credentials, none are given, and the pod has no identity that it could use instead",
            remedy="Name a Secret in the BackupStore's credentials, or set jobTemplate.serviceAccountName to a service "
            "account that the cloud provider gives an identity to (workload identity).",
        )
    if certificate := _found(_CERTIFICATE, text):
        return certificate_not_trusted(store, certificate)
    for pattern, why in _UNREACHABLE:
        if pattern.search(text):
            return TaskError(
                "StoreUnreachable",
                f"the {store} cannot be reached: {why}",
                remedy="Check the endpoint in the BackupStore, DNS, and that NetworkPolicies let the pod reach it.",
                retryable=True,
            )
    first_line = text.splitlines()[0] if text else type(error).__name__
    return TaskError(
        "StoreFailed",
        f"the {store} failed{_about(path)}: {' '.join(part for part in (code, said) if part) or first_line[:300]}",
        remedy="Look at the storage server's log at this moment.",
        retryable=True,
    )


def was_cut(error: Exception) -> bool:
    """Whether the connection ended before the server had answered: it may have done what was asked, or not."""
    text = str(error)
    return not _found(_STATUS, text) and _CUT.search(text) is not None


def certificate_not_trusted(store: str, trouble: str) -> TaskError:
    dates = "Look at the node's clock and at the certificate's dates. "
    return TaskError(
        "CertificateNotTrusted",
        f"the certificate of the {store} is not trusted: {trouble}",
        remedy=(dates if _DATES.search(trouble) else "")
        + "Put the certificate of the authority that signed it into the BackupStore's CA Secret or ConfigMap; "
        "the endpoint's name must stand in the certificate.",
    )


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match.group(1) if match else ""


def _about(path: str) -> str:
    return f" (object {path})" if path else ""
