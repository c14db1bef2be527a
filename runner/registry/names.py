"""Names, qualifiers and ARNs of functions and layers, in both dialects' spellings."""

from __future__ import annotations

import re

from snapfork.runner.registry.errors import Invalid
from snapfork.runner.registry.model import LATEST

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of functions. Lambda's alphabet; FC's is a part of it, and its face checks that."""
ALIAS = re.compile(r"(?!\d+$)[A-Za-z0-9_-]{1,128}")
LAYER = re.compile(r"[A-Za-z0-9_-]{1,140}")
TRIGGER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
HOST = re.compile(
    r"(?=.{1,253}$)(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_LAYER_ARNS = (
    re.compile(r"arn:[a-z0-9-]+:lambda:[^:]*:[^:]*:layer:(?P<name>[A-Za-z0-9_-]+):(?P<version>\d{1,9})"),
    re.compile(r"acs:fc:[^:]*:[^:]*:layers/(?P<name>[A-Za-z0-9_-]+)/versions/(?P<version>\d{1,9})"),
    re.compile(r"(?P<name>[A-Za-z0-9_-]+):(?P<version>\d{1,9})"),
)


def check(pattern: re.Pattern[str], name: object, what: str, member: str) -> str:
    """`name`, if it is a text of that pattern. Raises Invalid."""
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise Invalid(f"{name!r} cannot be the name of {what}.", member)
    return name


def qualifier(text: str | None) -> str:
    """A qualifier as it is kept: "" for the unqualified function, which every spelling of LATEST is."""
    return "" if text is None or text in ("", LATEST, f"${LATEST}") else text


def version(text: str | None) -> str:
    """A version as it is kept: LATEST for "", LATEST and $LATEST."""
    return qualifier(text) or LATEST


def layer_of(arn: str) -> tuple[str, int]:
    """(name, version) of a layer version's ARN, or of NAME:VERSION. Raises Invalid."""
    for pattern in _LAYER_ARNS:
        if match := pattern.fullmatch(arn):
            return match["name"], int(match["version"])
    raise Invalid(f"{arn!r} is not the ARN of a layer version.", "layers")


def unit(function: str, number: str) -> str:
    """The gateway's name of a version."""
    return f"{function}:{number}"


def function_arn(dialect: str, region: str, account: str, name: str, qualifier: str = "") -> str:
    """A function's ARN as its dialect writes it; the runner's own functions have Lambda's form."""
    if dialect == "fc":
        return f"acs:fc:{region}:{account}:functions/{name}" + (f"/versions/{qualifier}" if qualifier else "")
    return f"arn:aws:lambda:{region}:{account}:function:{name}" + (f":{qualifier}" if qualifier else "")
