"""Loops of functions that are each other's destinations, or invoke each other or themselves. Pure.

An invocation that a destination or a function brings carries the chain it is part of: how often each function
was invoked in it, as JSON, "" at the beginning. Lambda ends such a chain when it would invoke a function for
about the 17th time (docs.aws.amazon.com, "Use Lambda recursive loop detection"), unless the function allows
loops. A chain goes through a function as through Lambda's: AWS SDKs send the function's trace as a header.
"""

from __future__ import annotations

import json
import re
from string import hexdigits

LIMIT = 16
TRACE_HEADER = "x-amzn-trace-id"
_LINEAGE = re.compile(r"(?:^|;)\s*Lineage=([^;]{1,8192})")
_LINK = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,4})")
_MOST_LINKS = 100
SETTING = "RecursiveLoop"
"""Lambda's member, kept with a function's configuration: "Allow" or "Terminate", which is the default."""
CONDITION = "RecursiveInvocation"
ERROR = (
    f"RecursiveInvocationException: the function was invoked {LIMIT} times in one chain of invocations; "
    f"{SETTING} Allow lets it go on"
)


def longer(chain: str, function: str) -> str:
    """The chain of what follows an invocation of `function` that belongs to `chain`."""
    counts = _counts(chain)
    counts[function] = counts.get(function, 0) + 1
    return json.dumps(counts, separators=(",", ":"))


def is_loop(chain: str, function: str) -> bool:
    """Whether one more invocation of `function` would be one too many."""
    return bool(chain) and _counts(chain).get(function, 0) >= LIMIT


def trace_of(chain: str, request_id: str, now: float) -> str:
    """The chain as the trace of an invocation: nothing is sampled, its links are those that occur most."""
    links = sorted(_counts(chain).items(), key=lambda link: -link[1])[:_MOST_LINKS]
    lineage = ",".join(f"{function}:{count}" for function, count in links)
    digits = "".join(one for one in request_id if one in hexdigits)
    root = digits[:24].lower().ljust(24, "0")
    return f"Root=1-{int(now):08x}-{root};Parent={root[:16]};Sampled=0;Lineage={lineage}"


def of_trace(text: str) -> str:
    """The chain that a trace header tells of; "" for none. It is the word of whoever sends it."""
    match = _LINEAGE.search(text)
    links = match[1].split(",")[:_MOST_LINKS] if match else []
    found = [link for text in links if (link := _LINK.fullmatch(text))]
    return json.dumps({link[1]: int(link[2]) for link in found}, separators=(",", ":")) if found else ""


def _counts(chain: str) -> dict[str, int]:
    return dict(json.loads(chain)) if chain else {}
