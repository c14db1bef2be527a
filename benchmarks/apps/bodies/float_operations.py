"""Sine, cosine and square root of 20,000 numbers."""

import math

from body_web import web

COUNT = 20_000


def body() -> str:
    total = sum(math.sin(n) ** 2 + math.cos(n) ** 2 + math.sqrt(n * n) for n in range(COUNT))
    return f"{total:.3f}\n"


app = web(body)
