"""A Flask app that holds 1 GB of model data in anonymous memory."""

import numpy
from flask import Flask

app = Flask(__name__)
WEIGHTS = numpy.ones((256, 1024, 1024), dtype=numpy.float32)


@app.get("/")
def weigh() -> str:
    return f"{WEIGHTS[17, 4].sum():.0f}\n"
