"""Its twin: each instance makes its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask
from snapfork.adapter import serverless

app = Flask(__name__)
executors: list[ThreadPoolExecutor] = []


def begin() -> None:
    executors.append(ThreadPoolExecutor(2))


serverless(app, after_fork=begin, warmup=["/health"])


@app.get("/health")
def health() -> dict[str, Any]:
    return {}


@app.get("/")
def page() -> dict[str, Any]:
    return {"works": executors[0].submit(lambda: True).result(20)}
