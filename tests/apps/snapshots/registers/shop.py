import logging
import sqlite3
import urllib.request

import jinja2
import jinja2.filters
import numpy as np
import pandas as pd
import prometheus_client
import sklearn
import sqlalchemy as sa
import starlette.convertors
import yaml
from blinker import signal
from flask import Flask, jsonify, request_finished, template_rendered
from sqlalchemy import event
from sqlalchemy.engine import Engine

app = Flask(__name__)
HITS = prometheus_client.Counter("shop_hits", "Hits.")
HITS.inc(3)
HEARD = []


@request_finished.connect_via(app)
def of_this_app(sender, **_):
    HEARD.append("finished")


class Listener:
    def hear(self, sender, **_):
        HEARD.append("rendered")


listener = Listener()
template_rendered.connect(listener.hear)
MINE = signal("mine")
MINE.connect(of_this_app)
CONNECTED = []
EXECUTED = []
engine = sa.create_engine("sqlite://")


@event.listens_for(Engine, "connect")
def connected(*_):
    CONNECTED.append(1)


@event.listens_for(engine, "before_cursor_execute")
def executed(*_):
    EXECUTED.append(1)


class Point:
    pass


class Square(starlette.convertors.IntegerConvertor):
    def convert(self, value):
        return int(value) ** 2


yaml.SafeLoader.add_constructor("!point", lambda loader, node: "a point")
jinja2.filters.FILTERS["twice"] = lambda text: text * 2
sqlite3.register_adapter(Point, lambda point: "a point")
starlette.convertors.register_url_convertor("square", Square())
opener = urllib.request.build_opener()
opener.addheaders = [("x-shop", "1")]
urllib.request.install_opener(opener)
np.seterr(divide="ignore")
np.set_printoptions(precision=2)
pd.set_option("display.max_rows", 7)
sklearn.set_config(assume_finite=True)
logging.addLevelName(25, "NOTICE")


@app.get("/")
def index():
    HEARD.clear()
    template_rendered.send(app)
    MINE.send(1)
    request_finished.send(app)
    request_finished.send(None)
    heard = list(HEARD)
    EXECUTED.clear()
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))
    metrics = prometheus_client.generate_latest().decode().splitlines()
    return jsonify(
        [
            heard,
            signal("mine") is MINE,
            bool(CONNECTED),
            EXECUTED,
            [line for line in metrics if line.startswith("shop_hits_total")],
            yaml.safe_load("!point a"),
            jinja2.Environment().from_string("{{ 'a'|twice }}").render(),
            sqlite3.connect(":memory:").execute("select ?", (Point(),)).fetchone(),
            starlette.convertors.CONVERTOR_TYPES["square"].convert("3"),
            opener.addheaders,
            urllib.request._opener is opener,
            np.geterr()["divide"],
            str(np.array([1 / 3])),
            pd.get_option("display.max_rows"),
            sklearn.get_config()["assume_finite"],
            logging.getLevelName(25),
        ]
    )
