"""How FC names things: resource names (ARNs), request ids, times, checksums."""

from __future__ import annotations

import math
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from snapfork.runner.registry.model import LATEST

# acs:fc:REGION:ACCOUNT:functions/NAME, with /QUALIFIER or .QUALIFIER behind it; FC 2.0 has services before.
_FUNCTION = re.compile(
    r"acs:fc:[^:]*:[^:]*:(?:services/[^/]+/)?functions/(?P<name>[A-Za-z0-9_-]+)(?:[/.](?P<qualifier>[\w-]+))?"
)
_PLACE = re.compile(r"acs:fc:(?P<region>[^:]*):(?P<account>[^:]*):")
_LAYER = re.compile(r"acs:fc:[^:]*:[^:]*:layers/(?P<name>[A-Za-z0-9_-]+)/versions/(?P<version>\d{1,9})")


@dataclass(frozen=True)
class Place:
    """Where this runner says that it is: both are parts of every ARN."""

    region: str
    account: str

    def function(self, name: str, qualifier: str = "") -> str:
        """The ARN of a function, or of a version or alias of it."""
        return f"acs:fc:{self.region}:{self.account}:functions/{name}" + (
            f"/{qualifier}" if qualifier else ""
        )

    def has(self, arn: str) -> bool:
        """Whether an ARN of FC can be of something here: of this region and account, where it says them.

        What FC publishes itself has the account "official" everywhere; such layers are those of that name.
        """
        match = _PLACE.match(arn)
        return match is None or (
            match["region"] in ("", self.region) and match["account"] in ("", "official", self.account)
        )

    def layer(self, name: str, version: int) -> str:
        """The ARN of a layer version, as the SDK's Layer.layerVersionArn describes it."""
        return f"acs:fc:{self.region}:{self.account}:layers/{name}/versions/{version}"

    def bucket(self, name: str) -> str:
        """The ARN of an OSS bucket."""
        return f"acs:oss:{self.region}:{self.account}:{name}"


def function_of(arn: str) -> tuple[str, str] | None:
    """Name and qualifier ("" for none) that a function's ARN says, or None if it is none."""
    match = _FUNCTION.fullmatch(arn)
    return (match["name"], match["qualifier"] or "") if match else None


def layer_of(arn: str) -> tuple[str, int] | None:
    """Name and version that a layer version's ARN says, or None if it is none."""
    match = _LAYER.fullmatch(arn)
    return (match["name"], int(match["version"])) if match else None


def request_id(now: float | None = None) -> str:
    """A fresh request id in FC 3.0's form: 1-, eight hex digits of the time, 24 random ones."""
    return f"1-{int(time.time() if now is None else now):08x}-{secrets.token_hex(12)}"


def iso(moment: float) -> str:
    """Seconds since the epoch as FC writes a time; "" for 0, which is never."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def milliseconds(moment: float) -> int:
    """Seconds since the epoch as FC's tasks have them."""
    return math.floor(moment * 1000 + 0.5)


def not_latest(qualifier: str) -> str:
    """A qualifier as the registry wants it: "" where FC's LATEST, or none, was said."""
    return "" if qualifier == LATEST else qualifier


def checksum(code: bytes) -> str:
    """FC's codeChecksum: CRC-64 of ECMA-182 in its reflected form (as .xz files have it), in decimal."""
    from fastcrc import crc64  # late: only the services process of a runner with deployed functions pays

    return str(crc64.xz(code))
