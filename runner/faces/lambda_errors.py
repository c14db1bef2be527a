"""Lambda's errors: the header x-amzn-ErrorType names the class, the body says {"Type", "message"}.

Which member the sentence stands in ("message" or "Message") differs from error to error and is in the data
file. What signing says is the front end's, in its own words (docs.aws.amazon.com, "Common errors").
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from snapfork.runner.faces.exchange import Reply
from snapfork.runner.faces.model import Violation
from snapfork.runner.registry import errors

# Errors that every AWS service may give and that no service's model lists.
COMMON = {
    "AccessDeniedException": 403,
    "IncompleteSignatureException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "RequestEntityTooLargeException": 413,
    "SerializationException": 400,
    "UnknownOperationException": 404,
    "ValidationException": 400,
}
SIGNATURE = {
    "missing": ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    "malformed": ("IncompleteSignatureException", ""),
    "unknown_key": (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    ),
    "expired": ("InvalidSignatureException", ""),
    "mismatch": (
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret "
        "Access Key and signing method. Consult the service documentation for details.",
    ),
    "body_hash": ("InvalidSignatureException", ""),
    "replay": ("InvalidSignatureException", ""),
}
"""code of SignatureError -> (error, message; "" for the one that it has)."""


class LambdaError(Exception):
    """An answer in Lambda's words. more: further members of the body; headers: of the answer."""

    def __init__(
        self, name: str, message: str, more: dict[str, Any] | None = None, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.more = more or {}
        self.retry_after = retry_after


def invalid_value(message: str) -> LambdaError:
    """A value that cannot be."""
    return LambdaError("InvalidParameterValueException", message)


def not_offered(message: str) -> LambdaError:
    """An operation, or a part of one, that this runner does not have."""
    return LambdaError("UnknownOperationException", message)


def missing(arn: str) -> LambdaError:
    """No function, or no version of it, of that ARN."""
    return LambdaError("ResourceNotFoundException", f"Function not found: {arn}")


def gone() -> LambdaError:
    """What the service says of policies, URLs and layers that are not there."""
    return LambdaError("ResourceNotFoundException", "The resource you requested does not exist.")


def signature(code: str, message: str) -> LambdaError:
    """A request that was not signed well."""
    name, text = SIGNATURE[code]
    return LambdaError(name, text or message)


def too_many(message: str, reserved: bool, retry_after: int = 1) -> LambdaError:
    """Concurrency is used up: the function's own, or what there is."""
    reason = (
        "ReservedFunctionConcurrentInvocationLimitExceeded"
        if reserved
        else "ConcurrentInvocationLimitExceeded"
    )
    return LambdaError("TooManyRequestsException", message, {"Reason": reason}, retry_after)


def validation(violations: Iterable[Violation]) -> LambdaError:
    """Constraints that the input breaks, in the words of the services' common framework."""
    texts = [f"Value {_value(one)}at '{_place(one.path)}' {_constraint(one)}" for one in violations]
    count = f"{len(texts)} validation error{'s' if len(texts) > 1 else ''} detected: "
    return invalid_value(count + "; ".join(texts))


def of(error: errors.OperationError) -> LambdaError:
    """An operation's error, where the operation's handler has nothing better to say."""
    match error:
        case errors.NotFound():
            return LambdaError("ResourceNotFoundException", error.message)
        case errors.AlreadyExists() | errors.Conflict():
            return LambdaError("ResourceConflictException", error.message)
        case errors.PreconditionFailed(kind="code"):
            return invalid_value(error.message)
        case errors.PreconditionFailed():
            return LambdaError(
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id. Call the "
                "GetFunction/GetAlias API "
                "to retrieve the latest Revision Id.",
            )
        case errors.LimitExceeded(kind="policy"):
            return LambdaError("PolicyLengthExceededException", error.message)
        case errors.LimitExceeded(kind="storage"):
            return LambdaError("CodeStorageExceededException", error.message)
        case errors.Throttled():
            return too_many("Rate Exceeded.", reserved=error.kind == "function")
        case errors.Disabled():
            return too_many(error.message, reserved=True)
        case errors.Denied():
            return LambdaError("AccessDeniedException", error.message)
        case errors.TooLarge(kind="payload"):
            return LambdaError("RequestTooLargeException", error.message)
        case errors.Invalid() | errors.TooLarge() | errors.LimitExceeded():
            return invalid_value(error.message)
    return LambdaError("ServiceException", error.message)


class Words:
    """Turns errors into answers, by the statuses and message members of the data file."""

    def __init__(self, modelled: dict[str, dict[str, Any]]) -> None:
        self._modelled = modelled

    def reply(self, error: LambdaError) -> Reply:
        """The error as it goes out."""
        known = self._modelled.get(error.name)
        status = known["status"] if known else COMMON[error.name]
        member = known["message"] if known else "message"
        body: dict[str, Any] = {member: error.message, **error.more}
        if known:
            body = {"Type": "User" if status < 500 else "Service", **body}
        headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", error.name.encode())]
        if error.retry_after:
            headers.append((b"retry-after", b"%d" % error.retry_after))
        return Reply(status, json.dumps(body).encode(), headers)


def _value(violation: Violation) -> str:
    if violation.constraint == "required":
        return "null "
    return "" if violation.shown is None else f"'{violation.shown}' "


@lru_cache(maxsize=1024)
def _place(path: tuple[str, ...]) -> str:
    return ".".join(part[:1].lower() + part[1:] for part in path if part not in ("key", "value"))


def _constraint(violation: Violation) -> str:
    limit = violation.limit
    match violation.constraint:
        case "required":
            text = "Member must not be null"
        case "min":
            text = f"Member must have value greater than or equal to {limit:g}"
        case "max":
            text = f"Member must have value less than or equal to {limit:g}"
        case "length_min":
            text = f"Member must have length greater than or equal to {limit}"
        case "length_max":
            text = f"Member must have length less than or equal to {limit}"
        case "pattern":
            text = f"Member must satisfy regular expression pattern: {limit}"
        case "enum":
            text = f"Member must satisfy enum value set: [{', '.join(map(str, limit))}]"
        case _:
            text = f"Member must be a multiple of {limit:g}"
    if violation.path[-1:] == ("key",):
        return f"failed to satisfy constraint: Map keys must satisfy constraint: [{text}]"
    if violation.path[-1:] == ("value",):
        return f"failed to satisfy constraint: Map value must satisfy constraint: [{text}]"
    return f"failed to satisfy constraint: {text}"
