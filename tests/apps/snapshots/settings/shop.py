import collections.abc
import colorsys
import decimal
import io
import json
import mimetypes
import os
import random
import secrets
import socket
import sqlite3
import sys
import time
import uuid
import warnings
from os import urandom
from random import random as rnd
from secrets import token_hex
from time import time as now

from flask import Flask, jsonify

OPEN = open
ENV_GET = os.environ.get
ioopen = io.open
GETITEM = os.environ.__getitem__
connect = sqlite3.connect
SEED = random.seed

app = Flask(__name__)
app.secret_key = secrets.token_hex(16)
API_TOKEN = os.environ.get("API_TOKEN", "tok")
STARTED = time.time()
TOKEN = token_hex(8)
UID = uuid.uuid4()
mimetypes.add_type("application/x-own", ".own")
decimal.getcontext().prec = 5
sys.setrecursionlimit(3000)


class Mine:
    def __len__(self):
        return 1


collections.abc.Mapping.register(Mine)
json.JSONEncoder.default_orig = json.JSONEncoder.default


def dflt(self, o):
    return "patched"


json.JSONEncoder.default = dflt
warnings.filterwarnings("ignore", message="own")
socket.setdefaulttimeout(7)

colorsys.rgb_to_hsv = lambda *a: "patched"


@app.get("/")
def i():
    return jsonify(
        [
            OPEN("/etc/hostname").read() != "",
            ENV_GET("HOME"),
            rnd() < 1,
            mimetypes.guess_type("a.own")[0],
            decimal.getcontext().prec,
            sys.getrecursionlimit(),
            isinstance(Mine(), collections.abc.Mapping),
            json.dumps(Mine()),
            socket.getdefaulttimeout(),
            colorsys.rgb_to_hsv(1, 1, 1),
            now() > 5,
            len(urandom(3)),
            type(OPEN).__name__,
            type(SEED).__name__,
            connect(":memory:") is not None,
        ]
    )
