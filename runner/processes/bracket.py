"""The lines below a run's own output, as Lambda and FC print them."""

from __future__ import annotations

import math
import time


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


def timed_out(request_id: str, *, of_fc: bool, timeout_s: float, at: float, used_mb: float) -> str:
    """The sentence about a run that was ended at its timeout; `at`: when, in seconds since 1970."""
    if of_fc:
        seconds = f"{timeout_s:g} second" + ("" if timeout_s == 1 else "s")
        return f"Function timed out after {seconds} (maxMemoryUsage: {used_mb:.2f}MB)"
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{clock}.{int(at * 1000) % 1000:03d}Z {request_id} Task timed out after {timeout_s:.2f} seconds"
