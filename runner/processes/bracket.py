"""The lines below a run's own output, as Lambda and FC print them."""

from __future__ import annotations

import math


def last_lines(
    request_id: str, *, of_fc: bool, run_ms: float, billed_ms: int, size_mb: int | None, used_mb: float,
    init_ms: float = 0.0,
) -> str:  # fmt: skip
    """END and REPORT, or FC's two lines. size_mb: the function's memory, None: all that it uses."""
    used = math.ceil(used_mb)
    size = size_mb or used
    if of_fc:
        return (
            f"FC Invoke End RequestId: {request_id}\n"
            f"Duration: {run_ms:.2f} ms, Billed Duration: {billed_ms} ms, Memory Size: {size} MB, "
            f"Max Memory Used: {used} MB"
        )
    told = [f"REPORT RequestId: {request_id}", f"Duration: {run_ms:.2f} ms"]
    told += [f"Billed Duration: {billed_ms} ms", f"Memory Size: {size} MB", f"Max Memory Used: {used} MB"]
    if init_ms:
        told.append(f"Init Duration: {init_ms:.2f} ms")
    return f"END RequestId: {request_id}\n" + "\t".join(told)
