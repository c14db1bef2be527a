"""Apps that do to their process what a library of theirs might: it stays their own affair."""

from __future__ import annotations

from pathlib import Path

import pytest
from load import read_answer
from server import Serve

APP = """
import os, sys, time

def ends(path):
    os.closerange(1, 3)
    return b"closed"

def prints(path):
    try:
        os.write(1, b"into the connection\\n")
    except OSError:
        return b"refused"
    return b"written"

def leaves(path):
    os.setsid()
    sys.stderr.write("left its session\\n")
    sys.stderr.flush()
    time.sleep(600)

def forks(path):
    pid = os.fork()
    if pid == 0 and path.endswith("/exits"):
        sys.exit(3)
    if pid == 0 and path.endswith("/fails"):
        raise RuntimeError("in the child")
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return b"child: %d" % status
    return b"from the child"

PAGES = {"close": ends, "print": prints, "leave": leaves, "fork": forks}

def answer(path):
    return PAGES.get(path.split("/")[1], lambda path: b"hello")(path)

def wsgi(environ, start_response):
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

async def asgi(scope, receive, send):
    body = answer(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
BOTH = pytest.mark.parametrize("name", ["wsgi", "asgi"])
ONE = ("--spares=0", "--max-instances=1", "--lifespan=off")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "rough.py").write_text(APP)
    return tmp_path


@BOTH
def test_no_connection_takes_the_place_of_a_closed_standard_output(name: str, here: Path) -> None:
    with Serve(f"rough:{name}", *ONE, "--no-access-log", app_dir=here) as server:
        assert server.get("/close").text == "closed"
        for _ in range(3):
            with server.raw() as sock:
                sock.sendall(b"GET /print HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                received = sock.makefile("rb").read()
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert received.endswith((b"\r\n\r\nrefused", b"\r\n\r\nwritten"))


@BOTH
def test_an_app_that_has_left_its_session_ends_with_the_gateway(name: str, here: Path) -> None:
    with Serve(f"rough:{name}", *ONE, "--no-access-log", app_dir=here) as server:
        sock = server.raw()
        sock.sendall(b"GET /leave HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_for("left its session")
        server.kill()
        server.wait_until_nothing_is_left()
        sock.close()


@BOTH
@pytest.mark.parametrize(("path", "status"), [("/fork", 1), ("/fork/exits", 3), ("/fork/fails", 1)])
def test_a_forked_child_that_comes_back_answers_nobody(name: str, path: str, status: int, here: Path) -> None:
    with Serve(f"rough:{name}", *ONE, app_dir=here) as server, server.raw() as sock:
        stream = sock.makefile("rb")
        for _ in range(2):
            sock.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
            answer = read_answer(stream)
            assert answer is not None
            assert (answer[0], answer[2]) == (200, b"child: %d" % status)
