"""An executor used at import: its threads would exist in the parent only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask

app = Flask(__name__)
executor = ThreadPoolExecutor(2)
READY = executor.submit(lambda: True).result()


@app.get("/")
def page() -> dict[str, Any]:
    return {"works": executor.submit(lambda: READY).result(20)}
