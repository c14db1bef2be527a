import dataclasses
import enum
import functools
import sys
from typing import NamedTuple

import numpy as np
from flask import Flask, jsonify
from pydantic import BaseModel
from snapfork.adapter import snapshot


class In(BaseModel):
    x: int


@dataclasses.dataclass
class Model:
    w: np.ndarray

    def predict(self, x):
        return float((self.w * x).sum())


class P(NamedTuple):
    a: int


class E(enum.Enum):
    A = 1


model = Model(np.arange(5.0))
app = Flask(__name__)
cache = {}


@functools.lru_cache
def sq(x):
    return x * x


def helper(x):
    cache[x] = 1
    return sq(x) + model.predict(x)


@app.get("/<int:x>")
def f(x):
    return jsonify(
        [helper(x), len(cache), P(1).a, E.A is E(1), In(x="3").x, isinstance(model, Model), Model.__module__]
    )


helper(3)
if __name__ == "__main__":
    snapshot(app).save(sys.argv[1])
    print(app.test_client().get("/4").text)
