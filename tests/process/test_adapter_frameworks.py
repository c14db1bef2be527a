"""Decorated apps of real frameworks under the tools that people use them with; what an import costs."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapfork.adapter import interface, marks, serverless

SLOW = {
    "asyncio",
    "dataclasses",
    "enum",
    "functools",
    "importlib.metadata",
    "inspect",
    "json",
    "logging",
    "re",
}
SLOW |= {"contextlib", "socket", "threading", "typing"}
FOREIGN = {"django", "fastapi", "flask", "httptools", "snapfork.runner", "starlette", "uvicorn", "uvloop"}


def test_the_import_brings_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from snapfork.adapter import SettingError, hooks, serverless\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "snapfork.adapter" in done.stdout.split()
    assert not (SLOW | FOREIGN) & set(done.stdout.split())


# -- Flask ---------------------------------------------------------------------------------------------------


def test_flask() -> None:
    from flask import Flask

    app = serverless(Flask("shop"), timeout=5)
    assert type(app) is Flask and isinstance(app, Flask)
    app.secret_key = "s"
    assert app.config["SECRET_KEY"] == "s"

    @app.get("/")
    def page() -> str:
        return "hello"

    assert app.test_client().get("/").text == "hello"
    app.cli.command("greet")(lambda: print("good day"))
    assert app.test_cli_runner().invoke(args=["greet"]).output == "good day\n"
    assert interface.detect(app) == "wsgi"


def test_a_flask_factory() -> None:
    from flask import Flask

    @serverless(concurrency=4)
    def create_app(name: str = "shop") -> Flask:
        return Flask(name)

    app = create_app("corner")
    assert isinstance(app, Flask) and app.name == "corner"
    noted = marks.find(app)
    assert noted is not None and noted.settings == {"concurrency": 4}


def test_flask_behind_wsgi_middleware() -> None:
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = serverless(Flask("shop"), timeout=5)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    outer = DispatcherMiddleware(ProxyFix(app), {})
    noted = marks.find(outer)
    assert noted is not None and noted.settings == {"timeout": 5.0}
    assert interface.detect(outer) == interface.detect(ProxyFix(app)) == "wsgi"


# -- Starlette and FastAPI -----------------------------------------------------------------------------------


def test_starlette() -> None:
    from starlette.applications import Starlette
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    app = serverless(Starlette(), timeout=5)
    assert type(app) is Starlette
    app.router.routes.append(Route("/", lambda request: PlainTextResponse("hello" * 200)))
    app.add_middleware(GZipMiddleware, minimum_size=10)
    app.state.number = 3
    answer = TestClient(app).get("/")
    assert (answer.text, answer.headers["content-encoding"]) == ("hello" * 200, "gzip")
    assert interface.detect(app) == interface.detect(GZipMiddleware(app)) == "asgi"


def test_fastapi_with_lifespan_and_openapi() -> None:
    from contextlib import asynccontextmanager

    from fastapi import FastAPI
    from starlette.testclient import TestClient

    started = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        started.append(app)
        yield

    app = serverless(FastAPI(lifespan=lifespan), lifespan="instance")

    @app.get("/double/{number}")
    def double(number: int) -> dict[str, int]:
        return {"result": 2 * number}

    assert type(app) is FastAPI
    with TestClient(app) as client:
        assert client.get("/double/4").json() == {"result": 8}
        assert "/double/{number}" in client.get("/openapi.json").json()["paths"]
    assert started == [app]
    assert interface.detect(app) == "asgi"


# -- Django --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "found"), [("get_wsgi_application", "wsgi"), ("get_asgi_application", "asgi")]
)
def test_django(make: str, found: str) -> None:
    code = f"""
from django.conf import settings
settings.configure(SECRET_KEY="s", ROOT_URLCONF="urls", ALLOWED_HOSTS=["*"])
from django.core.{found} import {make}
from django.core.handlers.{found} import {found.upper()}Handler
from snapfork.adapter import interface, serverless
app = {make}()
assert serverless(app, timeout=5) is app and isinstance(app, {found.upper()}Handler)
print(interface.detect(app))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found


# -- OpenTelemetry -------------------------------------------------------------------------------------------


def exporter() -> tuple[Any, Any]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider, spans


def test_opentelemetry_for_flask() -> None:
    flask = pytest.importorskip("flask")
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask")
    pytest.importorskip("opentelemetry.sdk")
    provider, spans = exporter()
    app = serverless(flask.Flask("shop"), timeout=5)
    instrumentation.FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    app.get("/")(lambda: "hello")
    assert app.test_client().get("/").status_code == 200
    assert [span.name for span in spans.get_finished_spans()] == ["GET /"]
    assert interface.detect(app) == "wsgi" and marks.find(app) is not None


def test_opentelemetry_for_fastapi() -> None:
    fastapi = pytest.importorskip("fastapi")
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.fastapi")
    pytest.importorskip("opentelemetry.sdk")
    from starlette.testclient import TestClient

    provider, spans = exporter()
    app = serverless(fastapi.FastAPI(), timeout=5)
    app.get("/")(lambda: "hello")
    instrumentation.FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    assert TestClient(app).get("/").json() == "hello"
    assert "GET /" in [span.name for span in spans.get_finished_spans()]
    assert interface.detect(app) == "asgi" and marks.find(app) is not None


# -- other servers -------------------------------------------------------------------------------------------

APPS = """
from snapfork.adapter import hooks, serverless
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


@hooks.after_fork
def never() -> None:
    raise RuntimeError("other servers do not call hooks")


flask_app = Flask(__name__)
flask_app.get("/")(lambda: "flask")
serverless(flask_app, timeout=5, initializer=never, pre_stop=never)


@serverless(timeout=5)
def create_app(text: str = "factory") -> Flask:
    app = Flask(__name__)
    app.get("/")(lambda: text)
    return app


@serverless
def wsgi_function(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"wsgi"]


starlette_app = serverless(Starlette(routes=[Route("/", lambda request: PlainTextResponse("starlette"))]))


@serverless(concurrency=2)
def create_asgi() -> Starlette:
    return starlette_app


@serverless
async def asgi_function(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"asgi"})


class Slotted:
    __slots__ = ()

    async def __call__(self, scope, receive, send):
        await asgi_function(scope, receive, send)


slotted = serverless(Slotted(), timeout=5)
"""


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "apps.py").write_text(APPS)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("apps:flask_app", "flask"),
        ("apps:create_app()", "factory"),
        ("apps:create_app('given')", "given"),
        ("apps:wsgi_function", "wsgi"),
    ],
)
def test_under_gunicorn(app_dir: Path, target: str, text: str) -> None:
    command = ["-m", "gunicorn", "--chdir", str(app_dir), "--bind", "127.0.0.1:0", target]
    assert answer(command, app_dir, lambda line: "Listening at: http" in line, "http://127.0.0.1:") == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["apps:starlette_app"], "starlette"),
        (["apps:create_asgi", "--factory"], "starlette"),
        (["apps:asgi_function"], "asgi"),
        (["apps:slotted"], "asgi"),
    ],
)
def test_under_uvicorn(app_dir: Path, arguments: list[str], text: str) -> None:
    command = ["-m", "uvicorn", "--port", "0", "--lifespan", "off", *arguments]
    assert answer(command, app_dir, lambda line: "running on http" in line, "http://127.0.0.1:") == text


@pytest.mark.parametrize("target", ["apps:flask_app", "apps:create_app", "apps:create_app('x')", "apps"])
def test_under_the_flask_command(app_dir: Path, target: str) -> None:
    command = [sys.executable, "-m", "flask", "--app", target, "routes"]
    done = subprocess.run(command, cwd=app_dir, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "GET" in done.stdout


def answer(command: list[str], cwd: Path, is_up: Callable[[str], bool], address: str) -> str:
    """Start a server, wait for the line with its address, and return what GET / says."""
    server = subprocess.Popen([sys.executable, *command], cwd=cwd, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        said = []
        for line in server.stderr:
            said.append(line)
            if is_up(line):
                port = line.partition(address)[2].split()[0].rstrip("/")
                with urllib.request.urlopen(f"{address}{port}/", timeout=150) as response:
                    return str(response.read().decode())
        raise AssertionError(json.dumps(said, indent=1))
    finally:
        server.terminate()
        server.stderr.close()
        server.wait()
