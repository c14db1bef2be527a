"""Routes of deployed functions: hosts, prefixes, weights, limits and signatures, on kept connections too."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from deskpeer import Deployment
from server import Client
from snapfork.runner.units import UnitRoute
from unitapps import hello, hello_asgi


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("routes")) as one:
        one.put(
            one.unit("shop:1", hello("shop1")),
            one.unit("shop:2", hello("shop2")),
            one.unit("blog:1", hello_asgi("blog1")),
            one.unit("blog:2", hello_asgi("blog2")),
        )
        yield one


def route(place: str, *choices: tuple[str, float], **more: Any) -> UnitRoute:
    """`place` is HOST/PREFIX, the host "" for every one."""
    host, slash, prefix = place.partition("/")
    chosen = tuple(choices)
    return UnitRoute(host or None, slash + prefix, chosen, chosen[0][0].partition(":")[0], **more)


def said(client: Client, path: str, **headers: str) -> str:
    """Version, mount and path as the app saw them."""
    answer = client.ask("GET", path, None, headers)
    assert answer.status == 200, answer
    version, _, mount, rest = answer.text.split("|")
    return f"{version} {mount} {rest}"


def test_one_connection_reaches_every_function_by_host_and_path(gateway: Deployment) -> None:
    gateway.route(
        route("/shop", ("shop:1", 1.0)),
        route("shop.localhost", ("shop:1", 1.0)),
        route("/blog", ("blog:1", 1.0)),
        route("blog.localhost", ("blog:1", 1.0)),
        route("api.example.com/users", ("shop:2", 1.0), strip=False),
        route("api.example.com", ("blog:2", 1.0)),
    )
    client = gateway.client()
    for _ in range(6):
        assert said(client, "/shop/a") == "shop1 /shop /a"
        assert said(client, "/shop/a", Host="shop.localhost:99") == "shop1  /shop/a"
        assert said(client, "/blog/b", Host="SHOP.localhost") == "shop1  /blog/b"
        # ASGI's path holds the mount as well.
        assert said(client, "/blog/b") == "blog1 /blog /blog/b"
        assert said(client, "/x", Host="blog.localhost") == "blog1  /x"
        assert said(client, "/users/7", Host="api.example.com") == "shop2  /users/7"
        assert said(client, "/userspace", Host="api.example.com") == "blog2  /userspace"
    assert client.ask("GET", "/shopping").status == 404


def test_a_target_of_the_command_line_keeps_its_place_beside_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("static")
    (directory / "site.d").mkdir()
    (directory / "site.d" / "own.py").write_text(hello("own"))
    target = ("own", "own:app", str(directory / "site.d"), {"warmup": []}, [[None, ""]])
    with Deployment(directory, functions=(target,)) as gateway:
        client = gateway.client()
        assert said(client, "/shop/x") == "own  /shop/x"
        gateway.put(gateway.unit("shop:1", hello("shop1")))
        gateway.route(route("/shop", ("shop:1", 1.0)), route("shop.localhost", ("shop:1", 1.0)))
        for _ in range(3):
            assert said(client, "/shop/x") == "shop1 /shop /x"
            assert said(client, "/x") == "own  /x"
            assert said(client, "/x", Host="shop.localhost") == "shop1  /x"
        gateway.route()
        assert said(client, "/shop/x") == "own  /shop/x"


def test_methods_of_a_route(gateway: Deployment) -> None:
    gateway.route(route("/shop", ("shop:1", 1.0), methods=("GET", "HEAD")))
    client = gateway.client()
    assert said(client, "/shop/a") == "shop1 /shop /a"
    answer = client.ask("POST", "/shop/a", b"x")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_weights_are_drawn_for_each_request_of_a_kept_connection(gateway: Deployment, soak: Any) -> None:
    gateway.route(route("/shop", ("shop:1", 0.9), ("shop:2", 0.1)))
    total = soak(2_000, 10_000)
    counts: Counter[str] = Counter()
    clients = [gateway.client() for _ in range(2)]

    def call(client: Client) -> None:
        for _ in range(total // 2):
            counts[said(client, "/shop/")] += 1

    threads = [threading.Thread(target=call, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    share = counts["shop2 /shop /"] / total
    # 1.5 points at 10,000 requests are five standard deviations; as many for fewer.
    assert abs(share - 0.1) < 0.015 * (10_000 / total) ** 0.5
    assert sum(counts.values()) == total


@pytest.mark.parametrize("function", ["shop", "blog"])
def test_moving_an_alias_under_kept_connections(gateway: Deployment, function: str) -> None:
    old, new = (route(f"/{function}", (f"{function}:{version}", 1.0)) for version in (1, 2))
    gateway.route(old)
    gateway.get(f"/{function}/")
    gateway.route(new)
    gateway.get(f"/{function}/")
    rounds = [0]  # odd while a move is under way, when either may answer
    stop = threading.Event()
    wrong: list[str] = []

    def call() -> None:
        client = gateway.client()
        while not stop.is_set():
            before = rounds[0]
            answer = client.ask("GET", f"/{function}/x")
            after = rounds[0]
            version = answer.text.partition("|")[0].removeprefix(function)
            if answer.status != 200:
                wrong.append(answer.text)
            elif before == after and before % 2 == 0 and version != "21"[before // 2 % 2]:
                wrong.append(f"{version} after move {before // 2} was acknowledged")

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for number in range(12):
        rounds[0] += 1
        gateway.route(new if number % 2 else old)
        rounds[0] += 1
        threading.Event().wait(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:5]


def test_reserved_concurrency_of_zero_refuses_at_once_on_kept_connections(gateway: Deployment) -> None:
    gateway.route(route("/shop", ("shop:1", 1.0)))
    client, waiting = gateway.client(), gateway.direct()
    assert said(client, "/shop/") == "shop1 /shop /"
    assert waiting.ask("GET", "/", None, {"x-snapfork-unit": "shop:2"}).status == 200
    gateway.route(route("/shop", ("shop:1", 1.0), reserved=0))
    answer = client.ask("GET", "/shop/")
    assert (answer.status, answer.json()["error"]["code"]) == (429, "too_many_requests")
    # Of every version, whoever asks.
    answer = waiting.ask("GET", "/", None, {"x-snapfork-unit": "shop:2"})
    assert (answer.status, answer.headers["x-snapfork-error"]) == (429, "too_many_requests")
    gateway.route(route("/shop", ("shop:1", 1.0)))
    assert said(gateway.client(), "/shop/") == "shop1 /shop /"


def test_reserved_concurrency_counts_all_versions_together(gateway: Deployment) -> None:
    gateway.route(
        route("/shop", ("shop:1", 1.0), reserved=2), route("two.localhost", ("shop:2", 1.0), reserved=2)
    )
    statuses: list[int] = []
    lock = threading.Lock()

    def call(host: str) -> None:
        status = gateway.get("/shop/?sleep=0.6", Host=host).status
        with lock:
            statuses.append(status)

    threads = [threading.Thread(target=call, args=[host]) for host in ("x", "two.localhost") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 429, 429, 429, 429]
    assert gateway.get("/shop/").status == 200


def test_reserved_concurrency_without_a_route(gateway: Deployment) -> None:
    gateway.route(reserved={"shop": 0})
    direct = gateway.direct()
    assert direct.ask("GET", "/", None, {"x-snapfork-unit": "shop:1"}).status == 429
    gateway.route()
    assert gateway.direct().ask("GET", "/", None, {"x-snapfork-unit": "shop:1"}).status == 200


def test_every_request_of_a_signed_route_is_judged(gateway: Deployment) -> None:
    asked: list[dict[str, Any]] = []

    def judge(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question)
        if ["authorization", "good"] in question["headers"]:
            return {"ok": True}
        return {"ok": False, "status": 403, "code": "forbidden", "message": "the signature is not good"}

    gateway.verdicts = judge
    gateway.route(route("signed.localhost", ("shop:1", 1.0), auth="signed"))
    client = gateway.client()
    good = {"Host": "signed.localhost", "Authorization": "good"}
    for number in range(3):
        assert said(client, f"/{number}?x=1", **good) == f"shop1  /{number}"
    answer = client.ask("POST", "/p%20q?a=b", b"payload", good)
    assert answer.status == 200
    last = asked[-1]
    assert (last["method"], last["path"], last["query"]) == ("POST", "/p%20q", "a=b")
    assert last["body_sha256"] == hashlib.sha256(b"payload").hexdigest()
    assert (last["function"], last["unit"], last["client"]) == ("shop", "shop:1", "127.0.0.1")
    answer = client.ask("GET", "/4", None, {"Host": "signed.localhost"})
    assert (answer.status, answer.json()["error"]["message"]) == (403, "the signature is not good")
    assert len(asked) == 5
    gateway.verdicts = None


def test_a_body_too_large_to_be_held_is_said_to_be_unseen(gateway: Deployment) -> None:
    asked: list[dict[str, Any]] = []

    def judge(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question)
        return {"ok": False}

    gateway.verdicts = judge
    gateway.route(route("signed.localhost", ("shop:1", 1.0), auth="signed"))
    answer = gateway.client().ask("POST", "/", b"x" * 300_000, {"Host": "signed.localhost"})
    assert answer.status == 403
    assert (asked[0]["body_sha256"], asked[0]["body_bytes"]) == (None, 300_000)
    gateway.verdicts = None


def test_headers_of_the_direct_listener_mean_nothing_to_the_public_one(gateway: Deployment) -> None:
    gateway.route(route("/shop", ("shop:1", 1.0)))
    client = gateway.client()
    for _ in range(2):
        assert said(client, "/shop/", **{"x-snapfork-unit": "shop:2"}) == "shop1 /shop /"
    answer = client.ask("GET", "/", None, {"x-snapfork-unit": "shop:2"})
    assert answer.status == 404 and "x-snapfork-error" not in answer.headers


def test_pipelined_requests_of_several_functions(gateway: Deployment) -> None:
    gateway.route(route("/shop", ("shop:1", 1.0)), route("/blog", ("blog:1", 1.0)))
    client = gateway.client()
    client.connect()
    wanted = [("shop", "blog")[number % 3 == 0] for number in range(30)]
    heads = [f"GET /{name}/{number} HTTP/1.1\r\nHost: x\r\n\r\n" for number, name in enumerate(wanted)]
    client.sock.sendall("".join(heads).encode())
    stream = client.sock.makefile("rb")
    for number, name in enumerate(wanted):
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        text = stream.read(length).decode()
        assert text.startswith(f"{name}1|") and text.endswith(f"/{number}")
