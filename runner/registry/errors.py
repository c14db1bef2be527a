"""What can be wrong with an operation, in the domain's words; each face turns it into its dialect's error."""

from __future__ import annotations


class OperationError(Exception):
    """One sentence for the caller; `kind` is what it concerns: "function", "alias", "layer", ..."""

    def __init__(self, message: str, kind: str = "", name: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.name = name


class NotFound(OperationError):
    """There is no such thing."""


class AlreadyExists(OperationError):
    """The name is taken."""


class Invalid(OperationError):
    """A value that cannot be; `member` is the dialect-neutral field name."""

    def __init__(self, message: str, member: str = "", kind: str = "") -> None:
        super().__init__(message, kind)
        self.member = member


class Conflict(OperationError):
    """Not now: an update is in progress, or the thing is in use."""


class PreconditionFailed(OperationError):
    """The revision that was asked for is not the current one."""


class TooLarge(OperationError):
    """Code, layer or payload beyond its limit."""


class LimitExceeded(OperationError):
    """A quota of the account: storage, policy length, concurrency."""


class BadPackage(Invalid):
    """A zip that is refused: slips, links out, bombs, duplicates, not a zip."""


class Throttled(OperationError):
    """Concurrency is used up (reserved, or no instance free in time); retry later."""


class Disabled(OperationError):
    """Invocation of this function is switched off."""


class Unavailable(OperationError):
    """Not through any fault of the caller's: a full disk, a file that cannot be written."""


class Denied(OperationError):
    """The key may not do this."""
