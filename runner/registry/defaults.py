"""What each creating face fills in where its caller says nothing; stored as explicit values."""

from __future__ import annotations

from dataclasses import dataclass

from snapfork.runner.registry.model import AsyncConfig, Dialect

MB = 1 << 20
HOUR = 3600.0


@dataclass(frozen=True)
class Defaults:
    """timeout, retry_delays, max_age in seconds (None: no limit); memory in MB.

    system_first, system_most: seconds before system errors and throttles are tried again: the first, which
    doubles up to the last. zip_bytes, unpacked_bytes: of code. runtime: where none is named.
    """

    timeout: float
    memory: int | None
    retries: int
    retry_delays: tuple[float, ...]
    max_age: float | None
    system_first: float
    system_most: float
    zip_bytes: int
    unpacked_bytes: int
    runtime: str = "python3"


# Sources: docs.aws.amazon.com (Lambda quotas, asynchronous invocation), help.aliyun.com (Function Compute
# 3.0: limits, retries). FC does not document what it waits after a function error: as for `runner deploy`.
DEFAULTS: dict[Dialect, Defaults] = {
    "lambda": Defaults(3.0, 128, 2, (60.0, 120.0), 6 * HOUR, 1.0, 300.0, 50 * MB, 250 * MB),
    "fc": Defaults(3.0, 512, 3, (1.0, 2.0, 4.0), 24 * HOUR, 0.5, 300.0, 100 * MB, 500 * MB),
    "runner": Defaults(60.0, None, 3, (1.0, 2.0, 4.0), None, 0.5, 300.0, 250 * MB, 1000 * MB),
}


def async_defaults(dialect: Dialect, function: str, qualifier: str) -> AsyncConfig:
    """How asynchronous invocations of a function go for which nothing has been set."""
    default = DEFAULTS[dialect]
    return AsyncConfig(function, qualifier, default.retries, default.retry_delays, default.max_age)
