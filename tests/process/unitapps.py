"""Code of units for tests."""

from __future__ import annotations

HELLO = """
import os, time
VERSION = {version!r}
def app(environ, start_response):
    query = environ["QUERY_STRING"]
    if query.startswith("sleep="):
        time.sleep(float(query[6:]))
    elif query == "die":
        os.kill(os.getpid(), 9)
    text = "|".join([VERSION, str(os.getpid()), environ["SCRIPT_NAME"], environ["PATH_INFO"]])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
"""
ASGI = """
import os
VERSION = {version!r}
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    text = "|".join([VERSION, str(os.getpid()), scope["root_path"], scope["path"]]).encode()
    length = str(len(text)).encode()
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}})
    await send({{"type": "http.response.body", "body": text}})
"""
BROKEN = """
raise RuntimeError("no database today")
"""


def hello(version: str = "1") -> str:
    """A WSGI app that says its version, its pid, its mount and the path; ?sleep=S and ?die."""
    return HELLO.format(version=version)


def hello_asgi(version: str = "1") -> str:
    """The same in ASGI."""
    return ASGI.format(version=version)
