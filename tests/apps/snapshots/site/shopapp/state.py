import threading

import numpy as np
from snapfork.adapter import hooks

TABLE = {}
LOADED = 0


class Prices:
    def __init__(self):
        self.d = {}

    def load(self):
        self.d["tea"] = 3
        return self


PRICES = Prices()


MODEL = None
ARR = None
FRESH = threading.Lock()
OBJS = {"p": PRICES}

RUNS = []


@hooks.initializer
def init():
    global MODEL, ARR
    MODEL = Prices()
    MODEL.d["m"] = 1
    ARR = np.arange(1000000.0)
    PRICES.d["init"] = 5
    RUNS.append(1)
