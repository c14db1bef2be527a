"""What makes starts fast, each part of it switched off, for parts/levers.py; imported in a template.

Every function here replaces functions of the runner in the template, before it forks: nothing of it exists in
the runner itself.
"""

from __future__ import annotations

from typing import Any

from snapfork.runner.processes import (
    atfork,
    dry_run,
    freeze,
    huge,
    immortal,
    instance,
    memory,
    text,
    warmup,
)
from snapfork.runner.processes.touched import Touched


def nothing(*_arguments: Any, **_named: Any) -> None:
    """Stands in for a step that is left out."""


def frozen_heap() -> None:
    """The collector stays as the app has it, and visits the template's objects in instances."""

    def report() -> dict[str, int]:
        huge.gather()
        text.travel()
        return {"collected": 0, "rss_bytes": memory.rss_bytes()}

    freeze.freeze = report
    freeze.thaw = nothing


def passing_handlers() -> None:
    """Instances run the standard library's own fork handlers, which mend what a template does not have."""
    atfork._places = lambda handler, lists: iter(())


def rehearsed_start() -> None:
    """No template has done what an instance does before it forks."""
    dry_run.repeat = nothing


def rehearsed_requests() -> None:
    """Only the warm-up request has run the code that serves requests."""
    warmup.run_in = nothing


def immortal_objects() -> None:
    """Instances count references to all objects of the template."""
    immortal.mark_all = lambda: 0


def huge_pages() -> None:
    """Templates leave their memory in the pages that it came in."""
    huge.gather = nothing


def code_that_travels() -> None:
    """Instances find the interpreter's code by faults."""
    text.travel = nothing


def copied_pages() -> None:
    """Spares copy no pages ahead."""
    Touched.populate = nothing  # type: ignore[method-assign]


def group_life_line() -> None:
    """Every instance asks the kernel for its end itself."""
    ready = instance.Prepared.make_ready

    def make_ready(prepared: instance.Prepared) -> None:
        ready(prepared)
        prepared.arm_each = True

    instance.Prepared.make_ready = make_ready  # type: ignore[method-assign]
