"""What a base template imports ahead: the frameworks that the snapshots in use refer to.

Only modules of packages and of the standard library come into question, and only those whose import neither
needs the app's settings nor starts anything: what fails here is imported by the template that needs it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterable

from snapfork.adapter import settings
from snapfork.runner.http.forwarded import Trusted
from snapfork.runner.http.routes import Route, Routes
from snapfork.runner.processes import rehearsal, warmup
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.serving import Served

OURS = ("snapfork.adapter.snapshots.file", "snapfork.adapter.snapshots.snapshot")
"""What every restore needs."""
SERVING = (
    *("snapfork.runner.processes.wsgi_loop", "snapfork.runner.processes.wsgi_noted"),
    *("snapfork.runner.processes.asgi_loop", "snapfork.runner.processes.asgi_noted"),
    *("snapfork.runner.processes.wsgi_threads", "snapfork.runner.processes.lifespan"),
    *("snapfork.runner.kept.lookup", "snapfork.adapter.events.app", "snapfork.adapter.events.logs"),
)
"""What instances serve with."""
NOT_AHEAD = ("django.contrib", "__main__", "snapfork")
"""Imports of models, which want Django's settings and apps set up first."""


def choose(modules: Iterable[str]) -> list[str]:
    """Of the modules that a snapshot names, those to import ahead, packages before what is in them."""
    names = sorted(set(modules))
    if any(name.partition(".")[0] == "django" for name in names):
        # Packages beside Django may be apps of it, whose models must not be imported before it is set up.
        names = [name for name in names if name.partition(".")[0] in {"django", *sys.stdlib_module_names}]
    return [name for name in names if not any(name == one or name.startswith(f"{one}.") for one in NOT_AHEAD)]


def take(modules: Iterable[str]) -> bool:
    """Import `modules`; False if this process cannot be forked any more."""
    for name in OURS:
        importlib.import_module(name)
    settings = os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in modules:
                if name not in sys.modules:
                    _import(name)
    finally:
        if settings is not None:
            os.environ["DJANGO_SETTINGS_MODULE"] = settings
    return len(os.listdir("/proc/self/task")) == 1


def close() -> bool:
    """Have the code that serves rehearsed here, once for all templates, and share what there is with them.

    None of them will look for garbage, pools or threads in it again. False if this process cannot be forked.
    """
    from snapfork.runner.processes import afterfork, atfork, immortal
    from snapfork.runner.processes.loops import TemplateLoop

    for name in SERVING:
        importlib.import_module(name)
    for interface in ("wsgi", "asgi"):
        loop = TemplateLoop() if interface == "asgi" else None
        served = _nobody(interface)
        warmup.run_in(served, loop.loop if loop is not None else None)
        for app in rehearsal.apps(interface):
            served.app = app
            for path in rehearsal.PATHS:
                warmup.raw_answer(served, path, loop.loop if loop is not None else None)
        served.app = None
        if loop is not None:
            loop.end()
        _rehearse_starts(served)
    gc.collect()
    afterfork.note_generators()
    atfork.note_lists()
    immortal.mark_all()
    gc.freeze()
    return len(os.listdir("/proc/self/task")) == 1


def _rehearse_starts(served: Served) -> None:
    from snapfork.runner.processes import dry_run, stdio

    out, err = os.dup(1), os.dup(2)
    try:
        dry_run.repeat(served, dry_run.RUNS)
    finally:
        stdio.restore(out, err)


def _nobody(interface: str) -> Served:
    """A function without an app."""
    resolved = settings.resolve({}, {"concurrency": 1})
    routes = Routes([Route(None, "", "-")])
    return Served(None, interface, resolved, "-", routes, Trusted([]), AccessLog(), "0")


def _import(name: str) -> None:
    with contextlib.suppress(BaseException):  # modules may raise anything; the template will tell
        importlib.import_module(name)
