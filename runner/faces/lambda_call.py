"""What every operation of the Lambda face works with: the parts of the runner, and the call itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from snapfork.runner.faces.exchange import Head, Reply
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value, missing
from snapfork.runner.faces.lambda_names import Place, function_of, kept_qualifier, shown_version
from snapfork.runner.registry import errors
from snapfork.runner.registry.limits import CONCURRENCY
from snapfork.runner.registry.model import FunctionUrl, Key

if TYPE_CHECKING:
    from snapfork.runner.invocations.invoker import Invoker
    from snapfork.runner.invocations.queue import Queue
    from snapfork.runner.registry.operations import Operations

T = TypeVar("T")
PAGE = 50
"""Items of a list, as the service gives them: a greater MaxItems is cut to it."""


@dataclass(frozen=True)
class Desk:
    """The parts. url_of: the address of a function URL. download: (path below /downloads/, call) -> an
    address from which it can be fetched for a while. concurrency: instances that there may be at all."""

    operations: Operations
    invoker: Invoker
    queue: Queue
    place: Place
    url_of: Callable[[FunctionUrl], str]
    download: Callable[[str, Call], str]
    concurrency: int = CONCURRENCY
    clock: Callable[[], float] = time.time


@dataclass(slots=True)
class Call:
    """One request, its input checked. values: members by their names in the model. function, qualifier: what
    FunctionName (or a tagged resource's ARN) and Qualifier say together, as Lambda spells it ("": none).
    """

    operation: str
    values: dict[str, Any]
    request_id: str
    head: Head
    key: Key
    function: str = ""
    qualifier: str = ""

    @property
    def kept(self) -> str:
        """The qualifier as the registry keeps it."""
        return kept_qualifier(self.qualifier)

    @property
    def start(self) -> str:
        marker: str = self.values.get("Marker", "")
        return marker

    @property
    def limit(self) -> int:
        return min(int(self.values.get("MaxItems", PAGE)), PAGE)

    @property
    def revision(self) -> str | None:
        revision: str | None = self.values.get("RevisionId")
        return revision


Answer = dict[str, Any] | Reply | None
"""Members of the answer by their names in the model, a whole reply, or nothing."""
Handler = Callable[[Desk, Call], Awaitable[Answer]]


def unqualified(call: Call) -> None:
    """Raise unless the call is about a function as such, or its $LATEST."""
    if call.qualifier not in ("", "$LATEST"):
        raise invalid_value(
            f"{call.operation} is for a function as such: the qualifier {call.qualifier} cannot be used."
        )


def name_function(values: dict[str, Any], operation_has_qualifier: bool, place: Place) -> tuple[str, str]:
    """(name, qualifier) of a call's input; ("", "") when it is about no function."""
    text = values.get("FunctionName") or values.get("Resource")
    if not text:
        return "", ""
    qualifier = values.get("Qualifier", "") if operation_has_qualifier else ""
    return function_of(text, place, qualifier)


def not_found(desk: Desk, call: Call, error: errors.NotFound) -> LambdaError:
    """The service's sentence for a function, version or alias that is not there."""
    if error.kind in ("function", "version") or (error.kind == "alias" and call.qualifier):
        return missing(desk.place.function(call.function, call.qualifier))
    if error.kind == "alias":
        arn = desk.place.function(call.function, error.name)
        return LambdaError("ResourceNotFoundException", f"Cannot find alias arn: {arn}")
    return LambdaError("ResourceNotFoundException", error.message)


def paged(name: str, items: list[T], after: str, view: Callable[[T], Any]) -> dict[str, Any]:
    """The envelope of a list; without NextMarker this was the last page."""
    answer: dict[str, Any] = {name: [view(item) for item in items]}
    if after:
        answer["NextMarker"] = after
    return answer


def arn_of(desk: Desk, name: str, kept: str, explicit: bool = False) -> str:
    """The ARN for a kept qualifier; `explicit`: $LATEST is said."""
    return desk.place.function(name, kept or (shown_version("") if explicit else ""))
