"""A Flask app whose initialisation takes three seconds, and leaves a table."""

import time

from flask import Flask

app = Flask(__name__)


def load() -> dict[int, str]:
    time.sleep(3)
    return {number: f"row {number}" for number in range(10_000)}


TABLE = load()


@app.get("/")
def row() -> str:
    return TABLE[4711] + "\n"
