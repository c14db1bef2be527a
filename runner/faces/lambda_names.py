"""How Lambda names things: ARNs, functions with their qualifiers in every spelling, versions, times."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass

from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value
from snapfork.runner.registry.model import LATEST

# FunctionName of the model, by parts: a name, ACCOUNT:function:NAME, or an ARN; each may end in :QUALIFIER.
_FUNCTION = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-[0-9]):)?"
    r"(?:(?P<account>[0-9]{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)
_LAYER = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):layer:(?P<name>[a-zA-Z0-9_-]+)(?::(?P<version>[0-9]{1,9}))?"
)


@dataclass(frozen=True)
class Place:
    """Where this runner says that it is. The region has the form of AWS's, because clients' ARNs must."""

    region: str = "us-east-1"
    account: str = "000000000000"

    def function(self, name: str, qualifier: str = "") -> str:
        """The ARN of a function; a qualifier as Lambda spells it, "" for the unqualified one."""
        arn = f"arn:aws:lambda:{self.region}:{self.account}:function:{name}"
        return f"{arn}:{qualifier}" if qualifier else arn

    def reach(self, text: str, region: str | None, account: str | None) -> None:
        """Raise LambdaError for a function of another region or account: there is none of those here."""
        if region and region != self.region:
            raise LambdaError(
                "ResourceNotFoundException",
                f"Functions from '{region}' are not reachable in this region ('{self.region}')",
            )
        if account and account != self.account:
            raise LambdaError("ResourceNotFoundException", f"Function not found: {text}")

    def has_layer(self, text: str) -> bool:
        """Whether a layer's name or ARN, with or without a version, can be one of here."""
        match = _LAYER.fullmatch(text)
        return match is None or (match["region"], match["account"]) == (self.region, self.account)

    def layer(self, name: str) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:layer:{name}"

    def mapping(self, uuid: str) -> str:
        """The ARN of an event source mapping."""
        return f"arn:aws:lambda:{self.region}:{self.account}:event-source-mapping:{uuid}"

    def user(self, key: str) -> str:
        return f"arn:aws:iam::{self.account}:user/{key}"


def function_of(text: str, place: Place, qualifier: str = "") -> tuple[str, str]:
    """(name, qualifier as Lambda spells it, "" for none) of a FunctionName beside a Qualifier.

    Raises LambdaError where the two contradict each other, and for a function of another place.
    """
    match = _FUNCTION.fullmatch(text)
    if match is None:
        raise invalid_value(f"{text} is not the name or ARN of a function.")
    place.reach(text, match["region"], match["account"])
    own = match["qualifier"] or ""
    if own and qualifier and own != qualifier:
        raise invalid_value(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return match["name"], own or qualifier


def layer_name(text: str, place: Place) -> str:
    """The name in a LayerName, which may be an ARN. Raises LambdaError for one of another place."""
    if not place.has_layer(text):
        raise LambdaError("ResourceNotFoundException", "The resource you requested does not exist.")
    match = _LAYER.fullmatch(text)
    return match["name"] if match else text


def layer_version(arn: str) -> tuple[str, int] | None:
    """(name, version) of a layer version's ARN, None if it is none."""
    match = _LAYER.fullmatch(arn)
    return (match["name"], int(match["version"])) if match and match["version"] else None


def shown_version(version: str) -> str:
    """A version as Lambda spells it."""
    return "$LATEST" if version in ("", LATEST) else version


def kept_qualifier(qualifier: str) -> str:
    """A qualifier as the registry keeps it. Raises LambdaError for one that no dialect can have."""
    if qualifier in ("", "$LATEST"):
        return ""
    if "$" in qualifier or qualifier == LATEST:
        raise LambdaError("ResourceNotFoundException", f"There is no version or alias {qualifier}.")
    return qualifier


def code_sha256(digest: str) -> str:
    """A package's hash (hex) as CodeSha256."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def iso(moment: float) -> str:
    """Seconds since the epoch as FunctionConfiguration.LastModified."""
    millis = int(moment * 1000) % 1000
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(moment))}.{millis:03d}+0000"
