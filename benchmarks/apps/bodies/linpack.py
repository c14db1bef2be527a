"""Linpack: a dense system of 200 linear equations, solved with numpy."""

import numpy
from body_web import web

SIZE = 200


def body() -> str:
    source = numpy.random.default_rng(5)
    matrix = source.random((SIZE, SIZE)) - 0.5
    right = matrix.sum(axis=1)
    wrong = numpy.abs(numpy.linalg.solve(matrix, right) - 1).max()
    return f"{wrong < 1e-6}\n"


app = web(body)
