"""`handler = serverless(app)`: what the arguments of a call say, for objects, functions and classes."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import events_samples as samples
import pytest
from mangum import Mangum
from snapfork.adapter import calls, interface, serverless
from snapfork.adapter.events.direct import InvocationFailed

CONTEXT = SimpleNamespace(aws_request_id="r-1", function_name="shop")
HELLO = {"Content-Type": "text/plain"}


def wsgi_echo(environ: Any, start_response: Any) -> list[bytes]:
    """Tells what it got."""
    told = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"].encode("latin-1").decode(),
        "query": environ["QUERY_STRING"],
        "body": environ["wsgi.input"].read().decode("latin-1"),
        "type": environ.get("CONTENT_TYPE"),
        "two": environ.get("HTTP_X_TWO"),
        "cookie": environ.get("HTTP_COOKIE"),
        "peer": environ["REMOTE_ADDR"],
        "scheme": environ["wsgi.url_scheme"],
        "event": type(environ["aws.event"]).__name__ if "aws.event" in environ else None,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return wsgi_echo(environ, start_response)


class AsgiObject:
    def __init__(self) -> None:
        self.started = 0
        self.loops: set[int] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.started += 1
            scope["state"]["number"] = self.started
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.loops.add(id(asyncio.get_running_loop()))
        message = await receive()
        told = {"path": scope["path"], "body": message["body"].decode("latin-1"), "state": scope["state"]}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


async def asgi_function(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"async"})


# -- what stays as it is -----------------------------------------------------------------------------------


def test_an_object_stays_itself_and_its_class() -> None:
    app = WsgiObject()
    assert serverless(app) is app and type(app) is WsgiObject
    assert interface.detect(app) == "wsgi"
    assert list(inspect.signature(app).parameters) == ["environ", "start_response"]
    assert pickle.loads(pickle.dumps(serverless)) is serverless
    assert isinstance(pickle.loads(pickle.dumps(WsgiObject())), WsgiObject)


def test_an_async_object_is_still_seen_to_be_async() -> None:
    app = serverless(AsgiObject())
    assert inspect.iscoroutinefunction(app.__call__)
    assert asyncio.iscoroutinefunction(app.__call__)
    assert list(inspect.signature(app).parameters) == ["scope", "receive", "send"]
    assert interface.detect(app) == "asgi"


def test_a_function_keeps_name_signature_and_doc() -> None:
    app = serverless(wsgi_echo)
    assert inspect.isfunction(app)
    assert (app.__name__, app.__doc__) == ("wsgi_echo", "Tells what it got.")
    assert list(inspect.signature(app).parameters) == ["environ", "start_response"]
    assert interface.detect(app) == "wsgi" and serverless(app) is app

    other = serverless(asgi_function)
    assert inspect.iscoroutinefunction(other) and other.__name__ == "asgi_function"
    assert interface.detect(other) == "asgi" and serverless(other) is other


def test_servers_see_asgi_in_an_async_function_and_object() -> None:
    from starlette.testclient import TestClient
    from uvicorn.config import Config

    for app in (serverless(asgi_function), serverless(AsgiObject())):
        config = Config(app, log_config=None)
        config.load()
        assert config.loaded_app.__class__.__name__ != "ASGI2Middleware"
        assert config.interface == "asgi3"
        assert TestClient(app).get("/").status_code == 200  # type: ignore[arg-type]


def test_what_is_beneath_is_called_by_our_own_instances() -> None:
    app, function, other = serverless(WsgiObject()), serverless(wsgi_echo), serverless(asgi_function)
    assert calls.plain(function) is wsgi_echo and calls.plain(other) is asgi_function
    assert inspect.isfunction(calls.plain(app).__func__)
    assert calls.plain(wsgi_echo) is wsgi_echo
    assert calls.plain(calls.plain(app)) == calls.plain(app)


def test_a_decorator_on_top_is_not_taken_for_ours() -> None:
    import functools

    app = serverless(wsgi_echo)

    @functools.wraps(app)
    def outer(*args: Any) -> Any:
        return app(*args)

    assert calls.plain(outer) is outer


def test_a_class_that_others_change_later_is_called_as_changed() -> None:
    class Base:
        def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
            return [b"base"]

    class Child(Base):
        pass

    app = serverless(Child())
    assert app({}, print) == [b"base"]

    def instrumented(self: Any, environ: Any, start_response: Any) -> list[bytes]:
        return [b"traced"]

    Base.__call__ = instrumented  # type: ignore[method-assign]
    assert app({}, print) == [b"traced"]


def test_objects_nobody_marked_are_called_as_ever() -> None:
    class App:
        def __call__(self, event: Any, context: Any = None) -> Any:
            return ["its own", event, context]

    serverless(App(), interface="wsgi")
    assert App()(1) == ["its own", 1, None]
    assert App()({"a": 1}, CONTEXT) == ["its own", {"a": 1}, CONTEXT]


@pytest.mark.parametrize("arguments", [(), (1,), (object(), CONTEXT), ({}, None, 1, 2), ({}, CONTEXT, 1, 2)])
@pytest.mark.parametrize("make", [WsgiObject, AsgiObject, lambda: wsgi_echo, lambda: asgi_function])
def test_any_other_call_is_a_type_error_that_says_so(make: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"\(event, context\)"):
        serverless(make())(*arguments)


def test_requests_are_still_answered() -> None:
    begun: list[Any] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "",
    }
    from io import BytesIO

    environ |= {"wsgi.input": BytesIO(), "wsgi.url_scheme": "http"}
    for app in (serverless(WsgiObject()), serverless(wsgi_echo)):
        assert json.loads(app(environ, lambda *args: begun.append(args))[0])["method"] == "GET"  # type: ignore[call-arg,arg-type]
    assert [one[0] for one in begun] == ["200 OK"] * 2


# -- events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [WsgiObject, lambda: wsgi_echo])
@pytest.mark.parametrize("name", samples.ALL)
def test_a_wsgi_app_answers_events_of_each_shape(make: Any, name: str) -> None:
    handler = serverless(make())
    event = samples.sample(name)
    given: Any = json.dumps(event).encode() if name == "fc_http" else event
    out = handler(given, CONTEXT)
    told = json.loads(out["body"])
    assert told["method"] == "POST" and told["path"].startswith("/shop/")
    assert told["body"] == samples.BODY.decode("latin-1")
    assert told["type"] == "application/json" and told["peer"] == "192.0.2.7"
    assert out.get("statusCode", out.get("status")) == 200


@pytest.mark.parametrize("name", samples.AWS)
def test_an_asgi_app_answers_as_under_mangum(name: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        message = await receive()
        told = {
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "body": message["body"].decode(),
        }
        told["headers"] = [[k.decode(), v.decode()] for k, v in scope["headers"]]
        headers = [(b"content-type", b"application/json"), (b"set-cookie", b"a=1")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    theirs = Mangum(app, lifespan="off")(samples.sample(name), None)  # type: ignore[arg-type]
    ours = serverless(app)(samples.sample(name), CONTEXT)  # type: ignore[call-arg,arg-type]
    ours.pop("bodyEncoding", None)  # type: ignore[attr-defined]
    assert ours == theirs


def test_start_up_runs_once_and_the_loop_stays() -> None:
    app = AsgiObject()
    handler: Any = serverless(app)
    for _ in range(3):
        out = handler(samples.sample("http_v2"), CONTEXT)
        assert json.loads(out["body"])["state"] == {"number": 1}
    assert app.started == 1 and len(app.loops) == 1


def test_events_are_answered_beside_a_running_loop_and_from_threads() -> None:
    handler: Any = serverless(AsgiObject())

    async def cell() -> Any:
        return handler({"x": 1}, CONTEXT)

    assert asyncio.run(cell())["path"] == "/invoke"
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(handler({"x": 1}, CONTEXT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one["body"] for one in answers] == ['{"x": 1}'] * 4


def test_start_up_that_fails_fails_the_invocation_and_is_tried_again() -> None:
    tries: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            tries.append(1)
            if len(tries) == 1:
                raise RuntimeError("no database")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"up"})

    handler: Any = serverless(app)
    with pytest.raises(Exception, match="no database"):
        handler({}, CONTEXT)
    assert handler({}, CONTEXT) == "up"


def test_any_other_event_is_a_post_with_the_payload() -> None:
    handler: Any = serverless(WsgiObject())
    told = handler({"n": 1}, CONTEXT)
    assert (told["method"], told["path"], told["type"]) == ("POST", "/invoke", "application/json")
    assert json.loads(told["body"]) == {"n": 1}
    told = json.loads(handler(b"raw bytes", SimpleNamespace(request_id="r")))
    assert (told["body"], told["type"]) == ("raw bytes", "application/octet-stream")
    for event in ([1], "text", 7, 1.5, True, None):
        assert json.loads(handler(event, CONTEXT)["body"]) == event


def test_an_app_that_fails_at_invoke_fails_the_invocation() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
        return [b"no stock"]

    with pytest.raises(InvocationFailed, match="500: no stock"):
        serverless(app)({"n": 1}, CONTEXT)  # type: ignore[call-arg,arg-type]


def test_an_app_that_raises_is_a_500_as_under_mangum(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(environ: Any, start_response: Any) -> list[bytes]:
        raise ValueError("broken")

    out: Any = serverless(broken)(samples.sample("http_v2"), CONTEXT)  # type: ignore[call-arg,arg-type]
    assert (out["statusCode"], out["body"]) == (500, "Internal Server Error")
    assert "ValueError: broken" in capsys.readouterr().err


def test_frameworks_take_events() -> None:
    from fastapi import FastAPI
    from flask import Flask

    flask = serverless(Flask("shop"))
    flask.post("/shop/<name>")(lambda name: {"name": name})
    out: Any = flask(samples.sample("http_v2"), CONTEXT)  # type: ignore[arg-type]
    assert json.loads(out["body"]) == {"name": "café"}
    assert flask.test_client().post("/shop/x").json == {"name": "x"}

    fast = serverless(FastAPI())
    fast.post("/shop/{name}")(lambda name: {"name": name})
    assert json.loads(fast(samples.sample("alb"), CONTEXT)["body"]) == {"name": "café"}  # type: ignore


def test_a_factory_makes_apps_that_take_events() -> None:
    @serverless(timeout=5)
    def create_app() -> Any:
        return wsgi_echo

    @serverless
    class Shop(WsgiObject):
        pass

    assert create_app()({"n": 1}, CONTEXT)["path"] == "/invoke"
    assert Shop()({"n": 1}, CONTEXT)["path"] == "/invoke"  # type: ignore[arg-type]


def test_a_function_of_event_and_context_stays_itself() -> None:
    def handler(event: Any, context: Any) -> Any:
        return event

    async def async_handler(event: Any, context: Any) -> Any:
        return event

    assert serverless(handler, timeout=5) is handler
    assert serverless(async_handler) is async_handler


@pytest.mark.parametrize(
    ("code", "is_handler"),
    [
        ("def f(event, context): pass", True),
        ("def f(evt, _): pass", True),
        ("def f(data, ctx): pass", True),
        ("async def f(a, b): pass", True),
        ("def f(event, context=None): pass", True),
        ("def f(environ, start_response): pass", False),
        ("def f(a, b): pass", False),
        ("def f(environ, resp): pass", False),
        ("async def f(scope, receive, send): pass", False),
        ("async def f(scope, receive): pass", False),
        ("def f(context): pass", False),
        ("def f(*args): pass", False),
        ("def f(): pass", False),
    ],
)
def test_names_tell_handlers_from_apps(code: str, is_handler: bool) -> None:
    names: dict[str, Any] = {}
    exec(code, names)
    assert interface.is_handler(names["f"]) is is_handler


def test_the_name_of_a_function_tells_when_its_arguments_do_not() -> None:
    def f(a: Any, b: Any) -> None: ...

    assert interface.is_handler(f, "lambda_handler") and interface.is_handler(f, "handler")
    assert not interface.is_handler(f, "application")


def test_mangum_comes_with_the_first_event_of_aws_only() -> None:
    import subprocess

    code = (
        "import sys\nfrom snapfork.adapter import serverless\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [b'x']\n"
        "handler = serverless(app)\nassert 'snapfork.adapter.events' not in sys.modules\n"
        "handler({'n': 1}, None)\nassert 'mangum' not in sys.modules\n"
        f"handler({samples.HTTP_V2!r}, None)\nassert 'mangum' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_restored_app_takes_events(tmp_path: Path) -> None:
    """In a process that has wrapped nothing itself: there the framework's class is as it always was."""
    import os
    import subprocess

    (tmp_path / "shop.py").write_text(
        "from flask import Flask\nfrom snapfork.adapter import serverless\n"
        "app = serverless(Flask('shop'))\n"
        "app.post('/invoke')(lambda: {'ok': 1})\n"
    )
    steps = (
        "import shop\nfrom snapfork.adapter import snapshot\n"
        "snapshot(shop.app, app_dir='.').save('shop.snap')",
        "from snapfork.adapter import restore\napp = restore('shop.snap')\n"
        "assert app({'n': 1}, None) == {'ok': 1} and app.test_client().post('/invoke').json == {'ok': 1}",
    )
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    for code in steps:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
