"""DNA visualisation by squiggle's method: two steps of half a unit to the right for each base.

A goes up and down again, C down and up, T down twice, G up twice.
"""

import json
import random

from body_web import web

STEPS = {"A": (1, -1), "C": (-1, 1), "T": (-1, -1), "G": (1, 1)}
SEQUENCE = "".join(random.Random(4).choices("ACGT", k=20_000))


def squiggle(sequence: str) -> tuple[list[float], list[int]]:
    """The x and y coordinates of the line."""
    xs, ys = [0.0], [0]
    for base in sequence:
        for step in STEPS[base]:
            xs.append(xs[-1] + 0.5)
            ys.append(ys[-1] + step)
    return xs, ys


def body() -> str:
    return json.dumps(squiggle(SEQUENCE))


app = web(body)
