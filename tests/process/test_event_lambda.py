"""Wrapped apps under AWS's own Python runtime: `handler = serverless(app)` is a real Lambda handler."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import events_samples as samples
import pytest
from runtimeapi import ARN, RuntimeApi

pytest.importorskip("awslambdaric")

FLASK = """
from flask import Flask, request, jsonify
from snapfork.adapter import serverless

app = Flask("shop")

@app.post("/shop/<name>")
def shop(name):
    context = request.environ["aws.context"]
    response = jsonify(name=name, args=request.args.to_dict(flat=False), body=request.get_data(as_text=True),
        request=context.aws_request_id, arn=context.invoked_function_arn)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response

@app.get("/picture")
def picture():
    return b"\\x89PNG\\xff", 200, {"Content-Type": "image/png"}

@app.post("/invoke")
def invoke():
    if request.json.get("fail"):
        return "no stock", 500
    return jsonify(got=request.json)

handler = serverless(app, timeout=5)
"""

FASTAPI = """
from contextlib import asynccontextmanager
import asyncio
from fastapi import FastAPI, Request
from snapfork.adapter import serverless

started = []

@asynccontextmanager
async def lifespan(app):
    started.append(asyncio.get_running_loop())
    yield {"number": len(started)}

app = FastAPI(lifespan=lifespan)

@app.post("/shop/{name}")
async def shop(name: str, request: Request):
    same = asyncio.get_running_loop() is started[0]
    return {"name": name, "number": request.state.number, "starts": len(started), "same": same}

@serverless
async def handler(scope, receive, send):
    await app(scope, receive, send)
"""


def shop(tmp_path: Path, code: str) -> RuntimeApi:
    (tmp_path / "index.py").write_text(code)
    return RuntimeApi(tmp_path, "index.handler")


@pytest.mark.parametrize("name", samples.AWS)
def test_a_flask_app_answers_the_events_of_aws(tmp_path: Path, name: str) -> None:
    with shop(tmp_path, FLASK) as runtime:
        kind, out = runtime.invoke(samples.sample(name))
    assert kind == "response"
    told = json.loads(out["body"])
    assert (told["request"], told["arn"]) == ("request-1", ARN)
    assert told["name"].startswith("caf") or told["name"] == "coffee"
    assert told["body"] == samples.BODY.decode()
    assert told["args"]["q"]
    cookies = out.get("cookies") or out.get("multiValueHeaders", {}).get("set-cookie")
    if cookies is None:
        headers: dict[str, Any] = out["headers"]
        cookies = headers.get("set-cookie") or []
        if isinstance(cookies, str):  # ALB without multi-value headers: names in different cases
            cookies = [value for key, value in headers.items() if key.lower() == "set-cookie"]
        cookies = [one["value"] if isinstance(one, dict) else one for one in cookies]
    assert sorted(one.partition(";")[0] for one in cookies) == ["a=1", "b=2"]


def test_one_process_answers_event_after_event(tmp_path: Path) -> None:
    with shop(tmp_path, FLASK) as runtime:
        event = samples.sample("http_v2")
        event["requestContext"]["http"] |= {"method": "GET", "path": "/picture"}
        kind, out = runtime.invoke(event)
        assert (kind, out["isBase64Encoded"]) == ("response", True)
        assert base64.b64decode(out["body"]) == b"\x89PNG\xff"
        assert runtime.invoke({"n": [1, "é"]}, 2) == ("response", {"got": {"n": [1, "é"]}})
        kind, out = runtime.invoke({"fail": True}, 3)
        assert kind == "error"
        assert out["errorType"] == "InvocationFailed" and "no stock" in out["errorMessage"]
        assert runtime.invoke({"after": 1}, 4)[0] == "response"


def test_start_up_of_an_asgi_app_runs_once_in_the_process(tmp_path: Path) -> None:
    with shop(tmp_path, FASTAPI) as runtime:
        for number in range(1, 4):
            kind, out = runtime.invoke(samples.sample("alb"), number)
            assert kind == "response"
            assert json.loads(out["body"]) == {"name": "café", "number": 1, "starts": 1, "same": True}
