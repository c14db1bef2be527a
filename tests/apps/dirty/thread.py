"""A thread made at import: it would exist in the parent only."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask

app = Flask(__name__)
stop = threading.Event()
ticker = threading.Thread(target=stop.wait, name="ticker", daemon=True)
ticker.start()


@app.get("/")
def page() -> dict[str, Any]:
    return {"works": ticker.is_alive()}
