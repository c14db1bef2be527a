"""The last stage of a template: make what it holds as cheap as possible to share with its children.

`gc.freeze` moves everything into the permanent generation: a collection in a child then neither visits nor
writes to objects of the template, which would copy their pages.
"""

from __future__ import annotations

import gc
import sys

from snapfork.runner.processes import huge, immortal, memory, text

_collecting = True


def freeze() -> dict[str, int]:
    """Collect and freeze; returns {"collected", "rss_bytes"}.

    The collector stays off until `thaw`: a collection in the template would be paid by later forks. How many
    objects there are is not told: CPython would walk through all of them, for ten milliseconds.
    """
    global _collecting
    sys.stdout.flush()
    sys.stderr.flush()
    collected = sum(gc.collect() for _ in range(2))
    immortal.mark_all()
    _collecting = gc.isenabled()
    gc.disable()
    gc.freeze()
    huge.gather()
    text.travel()
    return {"collected": collected, "rss_bytes": memory.rss_bytes()}


def thaw() -> None:
    """In the child: collect again, unless the app had switched that off; frozen objects stay out of it."""
    if _collecting:
        gc.enable()
