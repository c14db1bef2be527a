"""Takes one app through a template's stages in a fresh interpreter, forks children and prints JSON.

Run as `python stage_driver.py APP.py CHILDREN`. The app file may define: `use()` (sync or async: what a
request does, returns something JSON-able), `app` (ASGI, for its lifespan), `after_fork()`, `saved_threads`,
`request()` (a warm-up request). Printed: {"checks", "dropped", "findings", "children", "pid"...}.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import traceback
from typing import Any

from snapfork.runner.processes import afterfork, audit, freeze, loops, origins
from snapfork.runner.processes.lifespan import Lifespan
from snapfork.runner.processes.quiesce import quiesce


def _load(path: str) -> Any:
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location("shop", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    return module


def _call(function: Any, loop: Any) -> Any:
    result = function()
    return loop.run_until_complete(result) if asyncio.iscoroutine(result) else result


def _child(module: Any, number: int) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            afterfork.repair()
            freeze.thaw()
            if hasattr(module, "after_fork"):
                module.after_fork()
            loop = None
            if hasattr(module, "app") or asyncio.iscoroutinefunction(module.use):
                loop = loops.new_loop()
                asyncio.set_event_loop(loop)
            answer = {"result": _call(module.use, loop)}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        os.write(write_end, json.dumps(answer).encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as file:
        text = file.read()
    os.waitpid(pid, 0)
    answer = json.loads(text)
    assert isinstance(answer, dict)
    return answer


def main(path: str, children: int) -> dict[str, Any]:
    recorders = origins.Origins()
    recorders.install()
    audits = audit.Audit(audit.baseline(), recorders)
    said: dict[str, Any] = {}
    module = _load(path)
    said["import"] = [finding.as_dict() for finding in audits.check("import")]
    template: loops.TemplateLoop | None = None
    if hasattr(module, "app") or asyncio.iscoroutinefunction(getattr(module, "request", None)):
        template = loops.TemplateLoop()
        audits.loop = template.loop
        audits.own_fds |= template.fds
    if hasattr(module, "app"):
        lifespan = Lifespan(module.app, {})
        assert template is not None
        template.run(lifespan.startup())
        said["supported"], said["note"] = lifespan.supported, lifespan.note
        audits.check("lifespan")
    if hasattr(module, "request"):
        said["request"] = _call(module.request, template and template.loop)
        said["warm-up"] = [finding.as_dict() for finding in audits.check("warm-up", 0)]
    said["dropped"] = quiesce(template.loop if template else None)
    findings = audits.final()
    if template is not None:
        said["open"] = [finding.as_dict() for finding in findings]
        if hasattr(module, "app"):
            lifespan.hold()
        template.end()
        audits.loop = None
        findings = audits.final()
    said["findings"] = [finding.as_dict() for finding in findings]
    said["spawn"] = audit.must_spawn(findings)
    said["skip"] = audit.requests_to_skip(findings)
    recorders.remove()
    said["repairs"] = afterfork.prepare(getattr(module, "saved_threads", None), recorders.seeded)
    said["threads"] = len(os.listdir("/proc/self/task"))
    said["freeze"] = freeze.freeze()
    said["children"] = [_child(module, number) for number in range(children)]
    return said


if __name__ == "__main__":
    printed = main(os.path.abspath(sys.argv[1]), int(sys.argv[2]))
    print("\n" + json.dumps(printed), flush=True)
    # As a template ends: nothing is unwound.
    os._exit(0)
