"""FC's errors: {"Code", "Message", "RequestId"} with the statuses of its list of error codes."""

from __future__ import annotations

import json

from snapfork.runner.faces.exchange import Reply
from snapfork.runner.registry import errors


class FcError(Exception):
    """An answer in FC's words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def invalid(message: str) -> FcError:
    """A value that cannot be."""
    return FcError(400, "InvalidArgument", message)


def not_offered(operation: str, why: str) -> FcError:
    """An operation of the API that this runner does not have, by its name."""
    return FcError(400, "PathNotSupported", f"{operation} is not supported by this runner: {why}.")


def too_large(what: str, limit: int) -> FcError:
    """A payload or package beyond its limit in bytes."""
    return FcError(400, "EntityTooLarge", f"{what} must be smaller than or equal to {limit} bytes.")


NOT_FOUND = {
    "function": "FunctionNotFound",
    "version": "VersionNotFound",
    "alias": "AliasNotFound",
    "trigger": "TriggerNotFound",
    "layer": "LayerNotFound",
    "layer version": "LayerVersionNotFound",
    "domain": "DomainNameNotFound",
    "async_config": "AsyncConfigNotExists",
    # Not "Concurrency...": what the vendor's Terraform provider waits for when there is none.
    "concurrency": "OnDemandConfigNotFound",
    "provision_config": "ProvisionConfigNotFound",
    "task": "AsyncTaskNotFound",
}
TAKEN = {
    "function": "FunctionAlreadyExists",
    "alias": "AliasAlreadyExists",
    "trigger": "TriggerAlreadyExists",
    "domain": "DomainNameAlreadyExists",
    "task": "AsyncTaskAlreadyExists",
}
SIGNATURE = {
    "missing": (400, "MissingRequiredHeader", "The request is not signed: it has no Authorization header."),
    "malformed": (400, "InvalidArgument", "The Authorization header cannot be read."),
    "unknown_key": (403, "InvalidAccessKeyID", "The access key id is not known here."),
    "expired": (
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the server's is too large.",
    ),
    "mismatch": (
        403,
        "SignatureNotMatch",
        "The request signature we calculated does not match the one you sent.",
    ),
    "body_hash": (403, "SignatureNotMatch", "The body is not the one that was signed."),
    "replay": (403, "SignatureNonceUsed", "The request was sent before: its nonce is used."),
}


WORDS = {"async_config": "async invoke config of", "provision_config": "provision config of"}
"""What FC's sentence says where the registry's kind is no word."""


def not_found(kind: str, name: str) -> FcError:
    """There is none: FC's sentence is "function 'x' does not exist"."""
    code = NOT_FOUND.get(kind, "ResourceNotFound")
    return FcError(404, code, f"{WORDS.get(kind, kind)} '{name}' does not exist")


def signature(code: str) -> FcError:
    """A request that was not signed well; `code` is signing.SignatureError's."""
    return FcError(*SIGNATURE.get(code, SIGNATURE["mismatch"]))


def of(error: errors.OperationError) -> FcError:
    """An operation's error in FC's words."""
    match error:
        case errors.NotFound(kind=kind, name=name):
            return (
                not_found(kind, name)
                if name
                else FcError(404, NOT_FOUND.get(kind, "ResourceNotFound"), error.message)
            )
        case errors.AlreadyExists(kind=kind):
            return FcError(409, TAKEN.get(kind, "ResourceAlreadyExists"), error.message)
        case errors.TooLarge():
            return FcError(400, "EntityTooLarge", error.message)
        case errors.LimitExceeded():
            return FcError(400, "LimitExceededError", error.message)
        case errors.PreconditionFailed():
            return FcError(412, "PreconditionFailed", error.message)
        case errors.Conflict(kind=kind):
            return FcError(
                409, "ConcurrentUpdateError" if kind == "update" else "ResourceInUse", error.message
            )
        case errors.Throttled():
            # Without x-acs-retry-after: with it the SDK raises a class that `except ClientException` does not
            # catch.
            return FcError(429, "ResourceExhausted", error.message)
        case errors.Unavailable():
            return FcError(503, "ServiceUnavailable", error.message)
        case errors.Disabled() | errors.Denied():
            return FcError(403, "AccessDenied", error.message)
        case errors.Invalid(kind="additional_is_main"):
            return FcError(400, "AdditionalVersionContainsMajorVersion", error.message)
        case errors.Invalid():
            return invalid(error.message)
    return FcError(500, "InternalServerError", error.message)


def reply(error: FcError, request_id: str, older: bool = False) -> Reply:
    """The error as it goes out. FC 2.0's first client reads other names than all later ones do."""
    body = {"Code": error.code, "Message": error.message, "RequestId": request_id}
    if older:
        body |= {"ErrorCode": error.code, "ErrorMessage": error.message}
    return Reply(error.status, json.dumps(body).encode(), [(b"content-type", b"application/json")])
