"""The product of two matrices of 200 x 200, with numpy."""

import numpy
from body_web import web

SIZE = 200


def body() -> str:
    left = numpy.arange(SIZE * SIZE, dtype=float).reshape(SIZE, SIZE) % 7
    product = left @ numpy.eye(SIZE)[::-1]
    return f"{bool((product == left[:, ::-1]).all())} {product.sum():.0f}\n"


app = web(body)
