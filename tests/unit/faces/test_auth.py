"""Who may do what, and what is judged before a body is read."""

from __future__ import annotations

import hashlib

import pytest
from snapfork.runner.faces.auth import EVERYBODY, LARGE, Auth, Refused, SignatureError, permit
from snapfork.runner.faces.exchange import Head, Headers
from snapfork.runner.faces.signing import EMPTY, presign_sigv4, sign_acs3, sign_sigv4
from snapfork.runner.registry.errors import Denied
from snapfork.runner.registry.model import Key

KEY = Key("AKID", "the-secret")
NOW = 1.8e9


class Keys(dict[str, Key]):
    """What Auth asks."""


def auth(signed: bool = True) -> Auth:
    return Auth(Keys({KEY.id: KEY}) if signed else None, lambda: NOW)


def request(host: str = "127.0.0.1:9000", body: bytes = b"", method: str = "GET", **more: str) -> Head:
    headers: Headers = [
        (b"host", host.encode()),
        *((name.encode(), value.encode()) for name, value in more.items()),
    ]
    digest = hashlib.sha256(body).hexdigest()
    return Head(method, b"/v1/x", b"", headers + sign_sigv4(method, b"/v1/x", b"", headers, digest, KEY, NOW))


@pytest.mark.parametrize(
    ("key", "action", "function", "fine"),
    [
        (Key("a", "s"), "manage", None, True),
        (Key("a", "s"), "manage", "f", True),
        (Key("a", "s"), "invoke", "f", True),
        (Key("a", "s", "invoke"), "invoke", "f", True),
        (Key("a", "s", "invoke"), "manage", "f", False),
        (Key("a", "s", "invoke"), "manage", None, False),
        (Key("a", "s", "invoke", ("f",)), "invoke", "f", True),
        (Key("a", "s", "invoke", ("f",)), "invoke", "g", False),
        (Key("a", "s", "manage", ("f",)), "manage", "f", True),
        (Key("a", "s", "manage", ("f",)), "manage", "g", False),
        (Key("a", "s", "manage", ("f",)), "manage", None, False),
        (Key("a", "s", "manage", ()), "invoke", "f", False),
        (EVERYBODY, "manage", None, True),
    ],
)
def test_permissions(key: Key, action: str, function: str | None, fine: bool) -> None:
    if fine:
        permit(key, action, function)  # type: ignore[arg-type]
    else:
        with pytest.raises(Denied) as denied:
            permit(key, action, function)  # type: ignore[arg-type]
        assert key.secret not in denied.value.message.split()


@pytest.mark.parametrize("signed", [True, False])
def test_host_and_origin(signed: bool) -> None:
    one = auth(signed)
    for host in ("127.0.0.1:9000", "localhost", "[::1]:9000"):
        one.open(request(host))
    for host in ("evil.example", "localhost.evil.example", ""):
        with pytest.raises(Refused) as refused:
            one.open(request(host))
        assert refused.value.code == "host_refused"
    one.open(request(origin="http://127.0.0.1:9000"))
    for origin in ("http://evil.example", "null", "https://127.0.0.1:9000", "http://127.0.0.1:9001"):
        with pytest.raises(Refused) as refused:
            one.open(request(origin=origin))
        assert refused.value.code == "origin_refused"


def test_a_stranger_is_told_before_the_body() -> None:
    one = auth()
    head = request()
    for headers, code in (
        ([field for field in head.headers if field[0] != b"authorization"], "missing"),
        ([(name, value.replace(b"AKID", b"WHO")) for name, value in head.headers], "unknown_key"),
    ):
        with pytest.raises(SignatureError) as refused:
            one.open(Head(head.method, head.path, head.query, headers))
        assert refused.value.code == code


def test_either_scheme_and_once() -> None:
    one = auth()
    headers: Headers = [(b"host", b"localhost")]
    acs3 = Head("GET", b"/v1/x", b"", headers + sign_acs3("GET", b"/v1/x", b"", headers, EMPTY, KEY, NOW))
    for head in (request(), acs3):
        assert one.close(one.open(head), b"") is KEY
        with pytest.raises(SignatureError, match="used before"):
            one.close(one.open(head), b"")
        with pytest.raises(SignatureError):
            one.close(one.open(head), b"another body")


async def large(one: Auth, head: Head, body: bytes) -> Key:
    return await one.close_large(one.open(head), body)


def test_large_bodies_are_held_to_the_signature_too() -> None:
    import asyncio

    body = b"x" * (LARGE + 1)
    assert asyncio.run(large(auth(), request(body=body, method="PUT"), body)) is KEY
    with pytest.raises(SignatureError):
        asyncio.run(large(auth(), request(body=body, method="PUT"), body + b"y"))
    assert asyncio.run(large(auth(False), request(), body)) is EVERYBODY


def test_only_presigned_downloads_may_be_used_again() -> None:
    one = auth()
    query = presign_sigv4(b"/downloads/x", "", "localhost", KEY, NOW, 60).encode()
    head = Head("GET", b"/downloads/x", query, [(b"host", b"localhost")])
    for _ in range(2):
        assert one.close(one.open(head), b"", reusable=True) is KEY
    assert one.close(one.open(head), b"") is KEY
    with pytest.raises(SignatureError):
        one.close(one.open(head), b"")
    again = request()
    assert one.close(one.open(again), b"", reusable=True) is KEY
    with pytest.raises(SignatureError):
        one.close(one.open(again), b"", reusable=True)


def test_requests_to_function_urls() -> None:
    """Their host is the function's own; reading may be repeated, changing not."""
    one = auth()
    read = request("id.lambda-url.us-east-1.localhost")
    assert one.judge(read, EMPTY) is KEY and one.judge(read, EMPTY) is KEY
    write = request("id.lambda-url.us-east-1.localhost", method="POST")
    assert one.judge(write, EMPTY) is KEY
    with pytest.raises(SignatureError):
        one.judge(write, EMPTY)
    assert auth(False).judge(Head("GET", b"/", b"", []), EMPTY) is EVERYBODY
