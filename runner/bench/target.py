"""The app that is measured, and the small modules that are put around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPAWNED = '''"""Made by snapfork.runner.bench: {target}, with an executor: a fork would break it."""
import sys
sys.path.insert(0, {app_dir!r})
from concurrent.futures import ThreadPoolExecutor
from snapfork_bench_app import application
EXECUTOR = ThreadPoolExecutor(1)
'''
PLAIN = '''"""Made by snapfork.runner.bench: {target} under a name that every server can load."""
import sys
sys.path.insert(0, {app_dir!r})
import {module} as module
application = module.{expression}
_function = getattr(application, "__wrapped__", application)
if hasattr(_function, "__code__") and _function.__code__.co_argcount == len(_function.__defaults__ or ()):
    application = application()  # an app takes two arguments or three, a factory none
'''
FUNCTION = '''"""Made by snapfork.runner.bench: {target} as a function of functions-framework."""
from snapfork_bench_app import application
from werkzeug.wrappers import Response
def function(request):
    return Response.from_app(application, request.environ)
'''


@dataclass
class Target:
    """`target` is module:attr or module:factory(); kind is "wsgi" or "asgi"; `path` is asked for."""

    target: str
    app_dir: str
    kind: str
    path: str = "/"

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]

    @property
    def expression(self) -> str:
        """What is behind the colon."""
        return self.target.partition(":")[2] or ("application" if self.kind == "wsgi" else "app")

    def write_wrappers(self, directory: Path) -> None:
        """Modules snapfork_bench_app, _spawned and _function: the app's object is `application`."""
        values = {
            "target": self.target, "app_dir": self.app_dir, "module": self.module,
            "expression": self.expression,
        }  # fmt: skip
        for name, text in (("app", PLAIN), ("spawned", SPAWNED), ("function", FUNCTION)):
            (directory / f"snapfork_bench_{name}.py").write_text(text.format(**values))
