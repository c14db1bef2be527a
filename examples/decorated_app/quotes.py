"""An app that says how it wants to be run: `@serverless` with settings and all four hooks.

Under another server the decorator changes nothing and the hooks are not called, so whatever they prepare
is made on first use there.

    runner serve quotes:create_app --app-dir examples/decorated_app
    gunicorn --chdir examples/decorated_app 'quotes:create_app()'
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from functools import cache
from pathlib import Path

from flask import Flask, Response, jsonify, render_template
from snapfork.adapter import serverless

QUOTES = Path(__file__).with_name("quotes.txt")
SEARCH = "SELECT text, author FROM quote WHERE quote MATCH ? ORDER BY rank"
JOURNAL = os.environ.get("QUOTES_JOURNAL", "")  # a file to which reads are noted; "" notes nothing


@cache
def quotes() -> list[tuple[str, str]]:
    """All quotes as (text, author)."""
    rows = (line.rpartition(" — ") for line in QUOTES.read_text(encoding="utf-8").splitlines())
    return [(text, author) for text, _, author in rows]


@cache
def search_index() -> sqlite3.Connection:
    """An index in memory: an open SQLite connection, which a fork must not carry over."""
    index = sqlite3.connect(":memory:", check_same_thread=False)
    index.execute("CREATE VIRTUAL TABLE quote USING fts5 (text, author)")
    index.executemany("INSERT INTO quote VALUES (?, ?)", quotes())
    return index


class Journal:
    """Notes reads in a thread of its own, so that a slow disk delays nobody."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.write, name="journal", daemon=True)
        self.thread.start()

    def write(self) -> None:
        with open(JOURNAL or os.devnull, "a", encoding="utf-8") as file:
            while (line := self.lines.get()) is not None:
                print(os.getpid(), line, file=file, flush=True)

    def close(self) -> None:
        self.lines.put(None)
        self.thread.join()


@cache
def journal() -> Journal:
    """This process's journal."""
    return Journal()


def load() -> None:
    """initializer, once in the template: what every instance may share."""
    quotes()


def let_go() -> None:
    """before_snapshot, once in the template: what warm-up made and a fork must not carry over."""
    if search_index.cache_info().currsize:
        search_index().close()
        search_index.cache_clear()
    if journal.cache_info().currsize:
        journal().close()
        journal.cache_clear()


def begin() -> None:
    """after_fork, in each instance before its first request: threads and connections of its own."""
    search_index()
    journal()


def end() -> None:
    """pre_stop, in each instance before it leaves: nothing noted is lost."""
    journal().lines.put("leaves")
    journal().close()


@serverless(
    timeout=10,
    max_instances=4,
    idle_timeout="2m",
    warmup=["/", "/search/time"],
    initializer=load,
    before_snapshot=let_go,
    after_fork=begin,
    pre_stop=end,
)
def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def page() -> str:
        return render_template("quotes.html", quotes=quotes())

    @app.get("/quotes/<int:number>")
    def one(number: int) -> Response | tuple[Response, int]:
        if number >= len(quotes()):
            return jsonify(error="no such quote"), 404
        journal().lines.put(f"read {number}")
        text, author = quotes()[number]
        return jsonify(text=text, author=author)

    @app.get("/search/<word>")
    def search(word: str) -> Response:
        match = '"' + word.replace('"', '""') + '"'
        rows = search_index().execute(SEARCH, (match,))
        return jsonify([{"text": text, "author": author} for text, author in rows])

    return app
