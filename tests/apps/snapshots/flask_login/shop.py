from flask import Flask, jsonify, request
from flask_caching import Cache
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user

app = Flask(__name__)
app.secret_key = "k"
app.config["CACHE_TYPE"] = "SimpleCache"
cache = Cache(app)
lm = LoginManager(app)


class User(UserMixin):
    def __init__(self, id):
        self.id = id


USERS = {"a": User("a")}


@lm.user_loader
def load(uid):
    return USERS.get(uid)


@app.post("/login")
def login():
    login_user(USERS[request.json["n"]])
    return "in"


@app.get("/me")
@login_required
def me():
    return current_user.id


COUNT = {"n": 0}


@app.get("/slow")
@cache.cached(timeout=600)
def slow():
    COUNT["n"] += 1
    return str(COUNT["n"])


@cache.memoize(100)
def sq(x):
    COUNT["n"] += 1
    return x * x


sq(3)
with app.app_context():
    cache.set("k", [1, 2])


@app.get("/k")
def k():
    return jsonify([cache.get("k"), sq(3), COUNT])
