"""Loops of functions that are each other's destinations, or their own. Pure.

An invocation that a destination brings carries the chain it is part of: how often each function was invoked
in it, as JSON, "" at the beginning. Lambda ends such a chain when it would invoke a function for about the
17th time (docs.aws.amazon.com, "Use Lambda recursive loop detection"), unless the function allows loops.
"""

from __future__ import annotations

import json

LIMIT = 16
SETTING = "RecursiveLoop"
"""Lambda's member, kept with a function's configuration: "Allow" or "Terminate", which is the default."""
CONDITION = "RecursiveInvocation"
ERROR = (
    f"RecursiveInvocationException: the function was invoked {LIMIT} times in one chain of destinations; "
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


def _counts(chain: str) -> dict[str, int]:
    return dict(json.loads(chain)) if chain else {}
