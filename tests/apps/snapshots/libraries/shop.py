import logging
import logging.handlers
import os
import threading

import boto3
import httpx
import jinja2
import numpy as np
import pandas as pd
import redis
import requests
import sqlalchemy as sa
import urllib3
from flask import Flask, jsonify
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sqlalchemy.orm import scoped_session, sessionmaker

app = Flask(__name__)
rng = np.random.default_rng(5)
rs = np.random.RandomState(4)
big = rng.random((500, 500))
frame = pd.DataFrame(
    {"a": range(1000), "b": pd.Categorical(["x", "y"] * 500), "c": pd.date_range("2020", periods=1000)}
).set_index("a")
view = big[10:20]
struct = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])
ro = np.arange(5)
ro.flags.writeable = False
objarr = np.array([{"a": 1}, None], dtype=object)
X = rs.random((100, 3))
y = (X[:, 0] > 0.5).astype(int)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
forest = RandomForestClassifier(5, random_state=0).fit(X, y)
sess = requests.Session()
sess.headers["x"] = "1"
sess.mount("http://a", requests.adapters.HTTPAdapter(max_retries=urllib3.Retry(3)))
hc = httpx.Client(headers={"x": "1"}, timeout=3)
ahc = httpx.AsyncClient(base_url="http://x")
red = redis.Redis(host="localhost", port=1)
rpipe = redis.ConnectionPool.from_url("redis://localhost:1")
s3 = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
b3s = boto3.session.Session(region_name="eu-west-1")
dyn = boto3.resource("dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
engine = sa.create_engine("sqlite:///" + os.environ["SHOP_DATA"] + "/shop.sqlite3")
SL = sessionmaker(engine)
scoped = scoped_session(SL)
sess2 = SL()
meta = sa.MetaData()
tab = sa.Table("t", meta, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.String))
meta.create_all(engine)
env = jinja2.Environment(loader=jinja2.DictLoader({"a": "{{ x|dbl }}"}))
env.filters["dbl"] = lambda x: x * 2
tpl = env.get_template("a")
pm = urllib3.PoolManager()
tl = threading.local()
tl.v = 1
h = logging.handlers.RotatingFileHandler(os.environ["SHOP_DATA"] + "/shop.log", delay=False)
logging.getLogger("shop").addHandler(h)
syslogq = logging.handlers.QueueHandler(__import__("queue").Queue())
logging.getLogger("shop").addHandler(syslogq)


@app.get("/")
def index():
    with SL() as s:
        n = s.execute(sa.select(sa.func.count()).select_from(tab)).scalar()
    return jsonify(
        [
            float(big.sum()),
            float(rng.random()),
            float(rs.random()),
            frame.b.value_counts().to_dict(),
            str(frame.c.iloc[3]),
            frame.shape,
            model.predict(X[:3]).tolist(),
            forest.predict(X[:3]).tolist(),
            sess.headers["x"],
            sess.get_adapter("http://a").max_retries.total,
            hc.headers["x"],
            hc.timeout.read,
            str(ahc.base_url),
            red.connection_pool.connection_kwargs["port"],
            rpipe.connection_kwargs["port"],
            s3.meta.region_name,
            s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}, ExpiresIn=1)[:40],
            b3s.region_name,
            dyn.Table("t").name,
            n,
            scoped().execute(sa.text("select 1")).scalar(),
            tpl.render(x="q"),
            env.get_template("a").render(x=2),
            tl.v,
            str(struct.dtype),
            ro.flags.writeable,
            objarr[0],
            [type(x).__name__ for x in logging.getLogger("shop").handlers],
            view.shape == (10, 500),
            pm.connection_pool_kw == {},
            view.shape,
        ]
    )
