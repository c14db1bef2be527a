"""The examples, unchanged, under `runner serve` and under the servers they were written for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from server import Answer, Serve, Server, gunicorn, uvicorn
from websockets.sync.client import connect

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TARGETS = {
    "flask_shop": "shop:app",
    "flask_puzzle": "puzzle:app",
    "django_site": "guestsite.wsgi:application",
    "fastapi_model": "flowers:app",
    "starlette_chat": "chat:app",
    "decorated_app": "quotes:create_app",
}
# A fresh process per request; open streams and WebSockets take up one each.
EACH = ("--max-requests=1", "--max-instances=8")
WSGI = ("flask_shop", "flask_puzzle", "django_site", "decorated_app")


class Browser:
    """Requests with cookies."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cookies: dict[str, str] = {}
        self.trail: list[object] = []

    def go(self, method: str, path: str, form: dict[str, str] | None = None) -> Answer:
        """One request; what matters of the answer is added to the trail."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers |= FORM | {"Referer": self.server.url, "Origin": self.server.url}
        body = urlencode(form) if form is not None else None
        answer = self.server.ask(method, path, body, headers)
        for cookie in answer.headers.get("set-cookie", "").splitlines():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        self.trail.append((method, path, answer.status, answer.headers.get("location"), plain(answer)))
        return answer


def plain(answer: Answer) -> bytes:
    """The body without what differs from run to run: tokens and times."""
    body = re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", answer.body)
    return re.sub(rb"<time.*?</time>", b"", body)


def shop(server: Server) -> list[object]:
    browser = Browser(server)
    assert "Corner shop" in browser.go("GET", "/").text
    for product in ("tea", "mug", "tea"):
        assert browser.go("POST", f"/cart/{product}", {}).status == 302
    assert "€ 30.30" in browser.go("GET", "/cart").text
    browser.go("POST", "/cart/mug", {"count": "-1", "next": "cart"})
    assert "€ 17.80" in browser.go("GET", "/cart").text
    browser.go("POST", "/order", {})
    assert "Thank you!" in browser.go("GET", "/").text
    assert "Thank you!" not in browser.go("GET", "/").text
    assert browser.go("GET", "/static/shop.css").status == 200
    assert browser.go("GET", "/nowhere").status == 404
    return browser.trail


def puzzle(server: Server) -> list[object]:
    browser = Browser(server)
    assert "moves from the solved board" in server.get("/").text
    page = browser.go("GET", "/123450786")
    assert "1 move from" in page.text and page.text.count("<a href") == 4
    assert "Solved." in browser.go("GET", "/123456780").text
    way = browser.go("GET", "/867254301/way").json()
    assert len(way) - 1 == 31 and way[-1] == "123456780"  # 31 moves: the longest there is
    assert browser.go("GET", "/123456870").status == browser.go("GET", "/12").status == 404
    return browser.trail


def site(server: Server) -> list[object]:
    browser = Browser(server)
    page = browser.go("GET", "/")
    assert "Welcome!" in page.text
    for name in ("Ada", ""):
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token
        form = {"name": name, "text": "a line", "csrfmiddlewaretoken": token[1]}
        browser.go("POST", "/", form)
        page = browser.go("GET", "/")
    assert browser.go("GET", "/entries.json").json()["entries"][0] == {"name": "Ada", "text": "a line"}
    assert browser.go("POST", "/", {"name": "Eve", "text": "no token"}).status == 403
    assert browser.go("GET", "/static/guestbook/book.css").status == 200
    assert browser.go("GET", "/static/admin/css/base.css").status == 200
    token = re.search(
        r'csrfmiddlewaretoken" value="(\w+)"', browser.go("GET", "/admin/login/?next=/admin/").text
    )
    assert token
    form = {"username": "keeper", "password": "of the book", "csrfmiddlewaretoken": token[1]}
    assert browser.go("POST", "/admin/login/?next=/admin/", form).status == 302
    listing = browser.server.ask("GET", "/admin/guestbook/entry/", None, cookie(browser))
    assert listing.status == 200
    assert "Ada" in listing.text
    return browser.trail


def cookie(browser: Browser) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}


def model(server: Server) -> list[object]:
    browser = Browser(server)
    assert "Which iris" in browser.go("GET", "/").text
    assert browser.go("GET", "/model").json()["accuracy"] > 0.9
    trail: list[object] = [*browser.trail]
    species = []
    for measured in ((5.1, 3.5, 1.4, 0.2), (5.9, 3.0, 4.4, 1.3), (6.7, 3.1, 5.9, 2.3)):
        names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
        answer = server.ask("POST", "/predict", dict(zip(names, measured, strict=True)))
        trail.append((answer.status, answer.json()))
        species.append(answer.json()["species"])
    assert species == ["setosa", "versicolor", "virginica"]
    assert server.ask("POST", "/predict", {"sepal_length": "long"}).status == 422
    return trail


def chat(server: Server) -> list[object]:
    talk = server.url.replace("http", "ws") + "/rooms/tea/talk"
    trail: list[object] = [server.get("/").body]
    with connect(talk) as ada, connect(talk) as bob:
        ada.send(json.dumps({"author": "Ada", "text": "anyone here?"}))
        trail.append(said(ada.recv(30)))
        trail.append(said(bob.recv(30)))
        assert server.ask("POST", "/rooms/tea", {"author": "Eve", "text": "me, by POST"}).status == 204
        trail.append(said(ada.recv(30)))
        bob.send("this is no JSON")
        with pytest.raises(Exception, match="1003"):
            while True:
                bob.recv(30)
    with contextlib.closing(server.raw()) as events:
        events.sendall(b"GET /rooms/tea/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        seen = b""
        while seen.count(b"data: ") < 2:
            seen += events.recv(65536)
        trail += [said(line[6:]) for line in seen.decode().splitlines() if line.startswith("data: ")]
    return trail


def said(message: str | bytes) -> tuple[object, ...]:
    parsed: dict[str, Any] = json.loads(message)
    return parsed["id"], parsed["author"], parsed["text"]


def quotes(server: Server) -> list[object]:
    browser = Browser(server)
    assert "Dijkstra" in browser.go("GET", "/").text
    found = browser.go("GET", "/search/time").json()
    assert {row["author"] for row in found} == {"Ray Cummings", "Benjamin Franklin"}
    assert browser.go("GET", "/quotes/0").json()["author"] == "Edsger W. Dijkstra"
    assert browser.go("GET", "/quotes/999").status == 404
    return browser.trail


WALKS: dict[str, Callable[[Server], list[object]]] = {
    "flask_shop": shop,
    "flask_puzzle": puzzle,
    "django_site": site,
    "fastapi_model": model,
    "starlette_chat": chat,
    "decorated_app": quotes,
}


def data(name: str, directory: Path) -> dict[str, str]:
    """A fresh place for the example's data, as environment variables."""
    directory.mkdir()
    env = {
        "DJANGO_SITE_DATA": str(directory),
        "CHAT_DATABASE": str(directory / "chat.sqlite3"),
        "QUOTES_JOURNAL": str(directory / "journal"),
        "DJANGO_SUPERUSER_PASSWORD": "of the book",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if name == "django_site":
        manage = [sys.executable, str(EXAMPLES / name / "manage.py")]
        create = ["createsuperuser", "--noinput", "--username", "keeper", "--email", "k@example.org"]
        for words in (["migrate", "-v0"], create):
            subprocess.run([*manage, *words], env={**os.environ, **env}, check=True, capture_output=True)
    return env


def peer(name: str, env: dict[str, str]) -> Server:
    if name in WSGI:
        return gunicorn(TARGETS[name] + "()" * (name == "decorated_app"), EXAMPLES / name, env=env)
    return uvicorn(TARGETS[name], EXAMPLES / name, env=env)


@pytest.fixture(scope="module", params=TARGETS)
def example(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Any]]:
    """An example's name and what its usual server answers."""
    name = request.param
    with peer(name, data(name, tmp_path_factory.mktemp("peer") / "data")) as server:
        usual = WALKS[name](server)
    yield name, usual


@pytest.mark.parametrize(
    "options",
    [(), ("--spares=0", *EACH), ("--spares=2", *EACH)],
    ids=["as it is", "each request forked", "each request to a spare"],
)
def test_the_same_answers(example: tuple[str, Any], options: tuple[str, ...], tmp_path: Path) -> None:
    name, usual = example
    env = data(name, tmp_path / "data")
    with Serve(TARGETS[name], *options, app_dir=EXAMPLES / name, env=env) as server:
        assert server.function()["mode"] == "fork", server.function()["template"]["findings"]
        assert WALKS[name](server) == usual
        function = server.function()
        assert function["responses"]["5xx"] == 0
        assert function["gateway_errors"] == {} or not any(function["gateway_errors"].values())
    assert not [line for line in server.output if "Traceback" in line]


def test_the_same_answers_from_a_snapshot(example: tuple[str, Any], tmp_path: Path) -> None:
    """Made, and restored where the source is not unless it must be."""
    name, usual = example
    env = data(name, tmp_path / "data") | {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    source = tmp_path / "source"
    shutil.copytree(EXAMPLES / name, source)
    file = tmp_path / "example.snap"
    words = ["snapshot", TARGETS[name], "-o", str(file), "--app-dir", str(source), "--python", sys.executable]
    made = subprocess.run(
        [sys.executable, "-m", "snapfork.runner", *words], cwd=tmp_path, env={**os.environ, **env},
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    if name == "django_site":
        assert "must be there when it is restored: guestbook, guestbook.admin" in made.stderr
    for path in source.rglob("*.py") if name != "django_site" else ():
        path.unlink()  # templates and other files of the app stay
    with Serve(str(file), cwd=tmp_path, env=env) as server:
        assert server.function()["template"]["stages"][0]["name"] == "restore"
        assert WALKS[name](server) == usual
        assert server.function()["responses"]["5xx"] == 0
    assert not [line for line in server.output if "Traceback" in line]


def test_django_is_found_by_its_manage_py(tmp_path: Path) -> None:
    env = data("django_site", tmp_path / "data")
    with Serve(app_dir=EXAMPLES / "django_site", env=env) as server:
        assert server.get("/entries.json").json()["entries"][0]["name"] == "The inn"
        assert server.function()["target"] == "guestsite.wsgi:application"


def test_a_room_over_two_instances(tmp_path: Path) -> None:
    """Two people in one room, on two instances: what one says, the other reads."""
    env = data("starlette_chat", tmp_path / "data")
    options = ("--concurrency", "1", "--max-instances", "4")
    with Serve("chat:app", *options, app_dir=EXAMPLES / "starlette_chat", env=env) as server:
        talk = server.url.replace("http", "ws") + "/rooms/tea/talk"
        with connect(talk) as ada, connect(talk) as bob:
            busy = [one["pid"] for one in server.function()["instances"] if one["state"] == "busy"]
            assert len(set(busy)) == 2
            for text in ("one", "two", "three"):
                ada.send(json.dumps({"author": "Ada", "text": text}))
                assert said(bob.recv(30))[1:] == ("Ada", text)


def test_all_four_hooks(tmp_path: Path) -> None:
    """The thread and the connection that the hooks make are each instance's own; none is lost at the end."""
    env = data("decorated_app", tmp_path / "data")
    with Serve("quotes:create_app", "--spares=0", app_dir=EXAMPLES / "decorated_app", env=env) as server:
        function = server.function()
        assert function["mode"] == "fork"
        assert function["settings"]["timeout"] == 10
        assert function["settings"]["max_instances"] == 4
        assert len(function["settings"]["warmup"]) == 2
        assert server.get("/quotes/3").status == 200
        pid = server.function()["instances"][0]["pid"]
        server.stop()
    assert (tmp_path / "data" / "journal").read_text().splitlines()[-2:] == [f"{pid} read 3", f"{pid} leaves"]
