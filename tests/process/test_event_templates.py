"""Handlers, initializers and pre-stops in real templates: what runs where, how often, and what fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from templated import Template

HANDLER = """
import os
ran = []

def handler(event, context):
    return {"ran": ran, "pid": os.getpid(), "event": event, "name": context.function_name}

def initialize(context):
    print("initializing")
    ran.append([os.getpid(), context.function_name, context.get_remaining_time_in_millis() <= 5000])

def dirty(context):
    import socket
    initialize(context)
    global kept
    kept = socket.socketpair()

def fails(context):
    raise ValueError("no database")

def hangs(context):
    import time
    time.sleep(600)

def ends(context):
    print("stopping", context.request_id != "")

async def awaits(context):
    initialize(context)
"""
WEB = """
import os, sys
ran = []

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/initialize", "/pre-stop"):
        ran.append([environ["REQUEST_METHOD"], path, os.getpid(), "HTTP_X_SNAPFORK_WARM_UP" in environ])
        print(environ["REQUEST_METHOD"], path)
    status = "500 No" if "FAIL" in os.environ and path == "/initialize" else "200 OK"
    start_response(status, [("Content-Type", "application/json")])
    import json
    return [json.dumps({"ran": ran, "pid": os.getpid()}).encode()]
"""
ASGI = """
import json, os
ran = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        ran.append("up")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] in ("/initialize", "/pre-stop"):
        ran.append([scope["method"], scope["path"], os.getpid()])
        print(scope["method"], scope["path"])
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"ran": ran, "pid": os.getpid()}).encode()})
"""


def asked(instance: Any, path: str = "/", method: str = "GET") -> Any:
    return json.loads(instance.request(method, path).response()[2])


def invoked(instance: Any, payload: Any = None, **invocation: Any) -> Any:
    return json.loads(instance.invoke(payload, **invocation).response()[2])


def test_a_handler_is_served_from_a_fork(tmp_path: Path) -> None:
    with Template(tmp_path, HANDLER) as template:
        assert (template.ready["interface"], template.ready["mode"]) == ("event", "fork")
        assert template.ready["warmup"] == [] and template.ready["settings"]["concurrency"] == 1
        with template.start() as instance:
            told = invoked(instance, {"n": 1})
            assert (told["event"], told["name"], told["ran"]) == ({"n": 1}, "shop", [])
            record = instance.records()[0]
            assert (record["function"], record["version"], record["instance"]) == ("shop", "3", "1")
            assert instance.lines("r-1")[0] == "START RequestId: r-1 Version: 3"


@pytest.mark.parametrize(
    ("source", "kind", "interface"),
    [
        ("def handler(event, context): return 1", "auto", "event"),
        ("def handler(a, b): return 1", "auto", "event"),
        ("async def handler(a, b): return 1", "auto", "event"),
        ("class Handler:\n    def __call__(self, *a): return 1\nhandler = Handler()", "event", "event"),
        ("def handler(environ, start_response): start_response('200 OK', []); return []", "auto", "wsgi"),
        ("def handler(a, b): b('200 OK', []); return []", "web", "wsgi"),
        ("from flask import Flask\nhandler = Flask('x')", "auto", "wsgi"),
        (
            "from snapfork.adapter import serverless\nfrom flask import Flask\n"
            "handler = serverless(Flask('x'))",
            "event",
            "wsgi",
        ),
        ("from mangum import Mangum\nfrom starlette.applications import Starlette\n"
         "handler = Mangum(Starlette(), lifespan='off')", "auto", "event"),
    ],
)  # fmt: skip
def test_what_kind_of_function_it_is(tmp_path: Path, source: str, kind: str, interface: str) -> None:
    with Template(tmp_path, source, kind=kind) as template:
        assert template.ready.get("interface") == interface, template.failed


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("x = 1", "index:handler", "has no 'handler'"),
        ("import nothing_like_this", "index:handler", "nothing_like_this"),
        ("handler = 5", "index:handler", "neither an app"),
    ],
)
def test_a_handler_that_cannot_be_had(tmp_path: Path, source: str, target: str, says: str) -> None:
    with Template(tmp_path, source, target, kind="event") as template:
        assert says in template.failed["sentence"]


@pytest.mark.parametrize("hook", ["initialize", "awaits"])
def test_an_initializer_that_leaves_nothing_behind_runs_once_for_all(tmp_path: Path, hook: str) -> None:
    wish = {"handler": f"index.{hook}", "timeout": 5}
    with Template(tmp_path, HANDLER, initializer=wish) as template:
        assert template.ready["mode"] == "fork" and not template.ready["user_code_at_start"]
        assert "initializer" in template.stages
        assert "initializing" in template.output()
        with template.start() as one, template.start() as other:
            first, second = invoked(one), invoked(other)
        assert first["ran"] == second["ran"] and len(first["ran"]) == 1
        pid, name, in_time = first["ran"][0]
        assert (pid, name, in_time) == (template.ready["pid"], "shop", True)
        assert pid not in (first["pid"], second["pid"])


def test_an_initializer_that_leaves_a_connection_runs_in_each_instance(tmp_path: Path) -> None:
    wish = {"handler": "index.dirty", "timeout": 5}
    with Template(tmp_path, HANDLER, initializer=wish) as template:
        assert template.ready["mode"] == "fork" and template.ready["user_code_at_start"]
        assert [one["severity"] for one in template.ready["findings"]] == ["note"] * len(
            template.ready["findings"]
        )
        assert template.ready["findings"]
        with template.start() as one, template.start() as other:
            for instance in (one, other):
                told = invoked(instance)
                assert [pid for pid, _, _ in told["ran"]] == [told["pid"]]


def test_an_initializer_of_an_app_that_is_spawned(tmp_path: Path) -> None:
    source = (
        HANDLER
        + "\nimport threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    wish = {"handler": "index.initialize", "timeout": 5}
    with Template(tmp_path, source, initializer=wish) as template:
        assert template.ready["mode"] == "spawn"
        with template.start() as instance:
            told = invoked(instance)
            assert [pid for pid, _, _ in told["ran"]] == [told["pid"]]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (
            {"handler": "index.fails", "timeout": 5},
            "The initializer index.fails failed: ValueError: no database",
        ),
        ({"handler": "index.hangs", "timeout": 0.2}, "The initializer did not end within 0.2 s"),
        ({"handler": "index.nothing", "timeout": 5}, "The initializer index.nothing cannot be found"),
        ({"handler": "nothing.at_all", "timeout": 5}, "The initializer nothing.at_all cannot be found"),
    ],
)
def test_an_initializer_that_fails_fails_the_start(tmp_path: Path, wish: dict[str, Any], says: str) -> None:
    with Template(tmp_path, HANDLER, initializer=wish) as template:
        assert says in template.failed["sentence"]


def test_an_asgi_app_that_keeps_a_thread_is_spawned(tmp_path: Path) -> None:
    source = (
        ASGI
        + "\nimport threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    with Template(tmp_path, source, "index:app") as template:
        assert (template.ready["mode"], template.ready["lifespan"]) == ("spawn", "instance")


def test_an_initializer_that_fails_in_an_instance_says_so(tmp_path: Path) -> None:
    source = HANDLER + (
        "\ntries = []\n"
        "def sometimes(context):\n"
        "    dirty(context)\n"
        "    if os.path.exists(__file__ + '.broken'):\n"
        "        raise ValueError('later')\n"
    )
    wish = {"handler": "index.sometimes", "timeout": 5}
    with Template(tmp_path, source, initializer=wish) as template:
        assert template.ready["user_code_at_start"]
        (tmp_path / "index.py.broken").write_text("")
        with template.start() as instance:
            instance.wait_end()
            assert "index.sometimes failed: ValueError: later" in instance.reports[0]["failed"]["sentence"]


@pytest.mark.parametrize(("source", "interface"), [(WEB, "wsgi"), (ASGI, "asgi")])
def test_a_web_apps_initializer_and_pre_stop_are_requests(
    tmp_path: Path, source: str, interface: str
) -> None:
    hooks = {"initializer": {"handler": "", "timeout": 5}, "pre_stop": {"handler": "", "timeout": 5}}
    with Template(tmp_path, source, "index:app", **hooks) as template:
        assert template.ready["interface"] == interface
        with template.start() as instance:
            told = asked(instance)
            requests = [one for one in told["ran"] if one != "up"]
            assert [one[:3] for one in requests] == [["POST", "/initialize", template.ready["pid"]]]
            assert interface == "asgi" or requests[0][3] is False
            instance.leave()
            instance.wait_bye()
            assert any("GET /pre-stop" in unit.text for unit in instance.said())


def test_a_web_app_whose_initializer_answers_an_error_does_not_start(tmp_path: Path) -> None:
    overrides = {"env": {"FAIL": "1"}}
    wish = {"handler": "", "timeout": 5}
    with Template(tmp_path, WEB, "index:app", initializer=wish, overrides=overrides) as template:
        assert "POST /initialize, and the app answered 500" in template.failed["sentence"]


def test_pre_stop_of_a_handler_runs_when_its_instance_leaves(tmp_path: Path) -> None:
    wish = {"handler": "index.ends", "timeout": 5}
    context = {"dialect": "fc", "name": "shop", "version": "3"}
    with (
        Template(tmp_path, HANDLER, pre_stop=wish, context=context) as template,
        template.start() as instance,
    ):
        instance.invoke(b"").response()
        instance.leave()
        instance.wait_bye()
        said = [unit.text for unit in instance.said() if unit.stream != "record"]
        at = said.index("stopping True")
        assert said[at - 1].startswith("FC PreStop Start") and said[at + 1].startswith("FC PreStop End")


def test_a_pre_stop_that_hangs_is_ended(tmp_path: Path) -> None:
    wish = {"handler": "index.hangs", "timeout": 0.2}
    with Template(tmp_path, HANDLER, pre_stop=wish) as template, template.start() as instance:
        invoked(instance)
        instance.leave()
        instance.wait_bye()
        assert any("did not end within 0.2 s" in unit.text for unit in instance.said())


def test_a_trial_instance_initialises_too(tmp_path: Path) -> None:
    wish = {"handler": "index.dirty", "timeout": 5}
    with (
        Template(tmp_path, HANDLER, initializer=wish) as template,
        template.start(trial=True) as instance,
    ):
        instance.wait_end()
        assert instance.reports[0]["trial"]["ready_ms"] > 0


def test_bare_modules_and_dotted_handlers(tmp_path: Path) -> None:
    for target in ("index", "index.handler", "index:handler"):
        with Template(tmp_path, HANDLER, target) as template:
            assert template.ready.get("target") == "index:handler", template.failed
