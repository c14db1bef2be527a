"""How FC tells that a value breaks a constraint."""

from __future__ import annotations

from snapfork.runner.faces.fc_errors import FcError, invalid
from snapfork.runner.faces.shapes import Violation

ARGUMENTS = {"function_name": "functionName", "alias_name": "aliasName", "trigger_name": "triggerName"}
"""Path parameters as callers know them."""


def sentence(violation: Violation) -> str:
    """One sentence on one value."""
    path = ".".join(ARGUMENTS.get(part, part) for part in violation.path if part not in ("member", "value"))
    shown = "" if violation.shown is None else f" '{violation.shown}'"
    limit = violation.limit
    match violation.constraint:
        case "required":
            return f"{path} is required."
        case "min":
            return f"{path}{shown} is out of range: the minimum is {limit}."
        case "max":
            return f"{path}{shown} is out of range: the maximum is {limit}."
        case "length_min":
            return f"{path} is too short: the minimum length is {limit}."
        case "length_max":
            return f"{path} is too long: the maximum length is {limit}."
        case "pattern":
            return f"{path}{shown} is invalid: it must match {limit}."
        case "enum":
            return f"{path}{shown} is invalid: it must be one of {', '.join(map(str, limit))}."
        case "multiple":
            return f"{path}{shown} is invalid: it must be a multiple of {limit}."


def refusal(violations: list[Violation]) -> FcError:
    """The answer to an input that breaks constraints: FC tells one at a time."""
    return invalid(sentence(violations[0]))
