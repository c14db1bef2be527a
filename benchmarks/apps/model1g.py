"""A Flask app that holds model data in anonymous memory: 1024 MB, or BENCH_MODEL_MB of the environment."""

import os

import numpy
from flask import Flask

app = Flask(__name__)
SIZE_MB = int(os.environ.get("BENCH_MODEL_MB", "1024"))
WEIGHTS = numpy.ones((SIZE_MB, 256, 1024), dtype=numpy.float32)


@app.get("/")
def weigh() -> str:
    return f"{WEIGHTS[SIZE_MB // 2, 4].sum():.0f}\n"


@app.get("/all")
def weigh_all() -> str:
    return f"{WEIGHTS.max():.0f}\n"
