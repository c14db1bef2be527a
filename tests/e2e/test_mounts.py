"""Two functions behind one listener: each request is answered by its own, whatever came before it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from load import read_answer
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"
PREFIXES = {"shop": "/shop", "blog": "/blog"}
HOSTS = {"shop": "shop.example", "blog": "blog.example"}


@pytest.fixture(scope="module")
def by_prefix() -> Iterator[Serve]:
    mounts = ("--mount=/shop=shop", "--mount=/blog=blog")
    with Serve("shop=wsgi_app:app", "blog=asgi_app:app", *mounts, app_dir=APPS) as server:
        yield server


@pytest.fixture(scope="module")
def by_host() -> Iterator[Serve]:
    mounts = ("--mount=shop.example=shop", "--mount=blog.example=blog")
    with Serve("shop=wsgi_app:app", "blog=asgi_app:app", *mounts, app_dir=APPS) as server:
        yield server


def make(number: int, path: str, host: str, choice: random.Random) -> bytes:
    """A request of one of three framings, whose query and body tell it apart."""
    body = f"body {number}".encode()
    head = f"{path}/echo?{number} HTTP/1.1\r\nHost: {host}\r\n".encode()
    framing = choice.randrange(3)
    if framing == 0:
        return b"GET " + head + b"\r\n"
    if framing == 1:
        return b"POST " + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:3], body[3:]))
    return b"POST " + head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def check(answer: tuple[int, dict[bytes, bytes], bytes] | None, number: int, sent: bytes) -> dict[str, Any]:
    assert answer is not None
    assert answer[0] == 200
    shown: dict[str, Any] = json.loads(answer[2])
    assert shown["query"] == str(number)
    assert shown["body"] == ("" if sent.startswith(b"GET") else f"body {number}")
    return shown


@pytest.mark.parametrize("pieces", [1, 7, 0], ids=["at once", "in sevens", "one after the other"])
@pytest.mark.parametrize("by", ["prefix", "host"])
def test_mixed_on_one_connection(by: str, pieces: int, request: pytest.FixtureRequest) -> None:
    server: Serve = request.getfixturevalue(f"by_{by}")
    choice = random.Random(pieces)
    wanted = [choice.choice(["shop", "blog"]) for _ in range(40)]
    sent = [
        make(number, PREFIXES[name] if by == "prefix" else "", HOSTS[name], choice)
        for number, name in enumerate(wanted)
    ]
    with server.raw() as sock:
        stream = sock.makefile("rb")
        if pieces:
            data = b"".join(sent)
            step = len(data) // pieces + 1
            for start in range(0, len(data), step):
                sock.sendall(data[start : start + step])
        for number, name in enumerate(wanted):
            if not pieces:
                sock.sendall(sent[number])
            shown = check(read_answer(stream), number, sent[number])
            assert shown["script_name"] == (PREFIXES[name] if by == "prefix" else "")
            assert shown["headers"]["host"] == HOSTS[name]


def test_each_function_served_its_own_requests_only(by_prefix: Serve) -> None:
    before = {name: by_prefix.function(name)["requests"] for name in PREFIXES}
    for name, prefix in PREFIXES.items():
        client = by_prefix.client()
        for _ in range(5):
            assert client.ask("GET", f"{prefix}/pid").status == 200
        client.close()
        by_prefix.wait_until(lambda one, old=before[name]: one["requests"] == old + 5, name)  # type: ignore[misc]


def test_what_no_function_owns_is_404(by_prefix: Serve, by_host: Serve) -> None:
    assert by_prefix.get("/shopping").status == 404
    assert by_prefix.get("/").status == 404
    assert by_host.get("/", {"Host": "other.example"}).status == 404
    assert by_host.get("/", {"Host": "SHOP.example:80"}).status == 200


def test_disguised_paths_go_where_the_gateway_says(by_prefix: Serve) -> None:
    """Both readers of a path decode it alike: no request reaches a function that does not own it."""
    for path in ("/%73hop/echo", "/shop%2Fecho", "//shop/echo", "/blog/../shop/echo", "http://x/shop/echo"):
        with by_prefix.raw() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
            answer = read_answer(sock.makefile("rb"))
            assert answer is not None
            if answer[0] == 200 and answer[2].startswith(b"{"):
                shown = json.loads(answer[2])
                assert shown["script_name"] in PREFIXES.values()
