"""Flask with Flask-SQLAlchemy on PostgreSQL and a redis client, both made at import as usual."""

from __future__ import annotations

import os

import redis
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db = SQLAlchemy(app)
store = redis.Redis.from_url(os.environ["REDIS_URL"])
store.ping()
with app.app_context():
    db.session.execute(text("SELECT 1"))


@app.get("/")
def ready() -> dict[str, object]:
    return {"database": db.session.execute(text("SELECT 1")).scalar(), "redis": store.ping()}


@app.get("/mine/<int:number>")
def mine(number: int) -> dict[str, object]:
    """What database and redis answer to a question that only this request asks."""
    row = db.session.execute(
        text("SELECT CAST(:n AS bigint), pg_backend_pid(), pg_sleep(0.002)"), {"n": number}
    ).one()
    echoed = store.execute_command("ECHO", f"mine {number}")
    return {"database": row[0], "backend": row[1], "redis": echoed.decode(), "pid": os.getpid()}
