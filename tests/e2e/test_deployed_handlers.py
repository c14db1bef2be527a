"""What counts as a handler in the managed runtimes: whatever can be called with event and context."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from fc_served import zipped
from test_deployed_lambda import WEB, Lambda, serve

HANDLERS = """
import functools

def process(e, c):
    return [e, c.function_name]

def run(data, _):
    return process(data, _)

lambda_ = lambda a, b: process(a, b)
partial = functools.partial(lambda extra, one, two: process(one, two), 1)

class Holder:
    def method(self, x, y):
        return process(x, y)

    def __call__(self, x, y):
        return process(x, y)

method = Holder().method
called = Holder()

def decorated_by(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@decorated_by
def wrapped(p, q):
    return process(p, q)

def stars(*a):
    return process(*a)

def create_order(event=None, context=None):
    return process(event, context)

async def later(one, two):
    return process(one, two)
"""
EVENT = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/p",
    "rawQueryString": "",
    "headers": {"host": "x.lambda-url.local"},
    "requestContext": {
        "http": {"method": "GET", "path": "/p", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7"},
        "requestId": "r",
        "stage": "$default",
        "timeEpoch": 1,
    },
    "isBase64Encoded": False,
}
NAMES = (
    "process",
    "run",
    "lambda_",
    "partial",
    "method",
    "called",
    "wrapped",
    "stars",
    "create_order",
    "later",
)
FLASKISH = """
class App:
    def __call__(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"web " + environ["PATH_INFO"].encode()]

class Middleware:
    def __init__(self, app):
        self.app = app

    def __call__(self, *args):
        return self.app(*args)

app = Middleware(App())

def create_app():
    return app
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Lambda(server, data)


@pytest.mark.parametrize("name", NAMES)
def test_a_handler_may_look_like_anything(aws: Lambda, name: str) -> None:
    aws.create(f"h-{name}", {"main.py": HANDLERS}, Handler=f"main.{name}")
    said, answer = aws.invoke(f"h-{name}", {"a": 1})
    assert "FunctionError" not in answer and said == [{"a": 1}, f"h-{name}"]


@pytest.mark.parametrize(
    ("source", "attribute"), [(WEB, "app"), (FLASKISH, "app"), (FLASKISH, "create_app")], ids=str.__len__
)
def test_web_apps_are_web_apps_all_the_same(aws: Lambda, source: str, attribute: str) -> None:
    name = f"web-{len(source)}-{attribute}".replace("_", "-")
    aws.create(name, {"main.py": source}, Handler=f"main.{attribute}")
    said, answer = aws.invoke(name, EVENT)
    assert "FunctionError" not in answer and said["statusCode"] == 200
    body = said["body"]
    assert "/p" in (base64.b64decode(body).decode() if said.get("isBase64Encoded") else body)


def test_a_function_becomes_another_thing_in_place(aws: Lambda) -> None:
    """An HTTP event means the event itself to a handler, and the request that it stands for to a web app."""
    name = "turns"
    handler = {"main.py": "def handler(event, context):\n    return sorted(event)\n"}
    web = {"main.py": WEB.replace("def app", "def handler")}
    aws.create(name, handler)
    for source, is_web in ((web, True), (handler, False), (web, True)):
        aws.invoke(name, EVENT)
        aws.boto.update_function_code(FunctionName=name, ZipFile=zipped(source))
        aws.wait("function_updated_v2", FunctionName=name)
        said, answer = aws.invoke(name, EVENT)
        assert "FunctionError" not in answer
        if is_web:
            body = said["body"]
            text = base64.b64decode(body).decode() if said.get("isBase64Encoded") else body
            assert json.loads(text) == {"path": "/p", "method": "GET"}
        else:
            assert said == sorted(EVENT)
