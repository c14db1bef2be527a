"""Its twin: the thread is each instance's own."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask
from snapfork.adapter import hooks

app = Flask(__name__)
stop = threading.Event()
tickers: list[threading.Thread] = []


@hooks.after_fork
def begin() -> None:
    tickers.append(threading.Thread(target=stop.wait, name="ticker", daemon=True))
    tickers[0].start()


@app.get("/")
def page() -> dict[str, Any]:
    return {"works": [ticker.is_alive() for ticker in tickers] == [True]}
