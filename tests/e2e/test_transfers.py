"""Large bodies in both directions: whole, and without anybody holding them in memory."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from load import read_answer
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"
BLOCK = bytes(range(256)) * 256
ROOM = 24 * 1024 * 1024
"""What buffers of kernel and interpreter may add; far below what is transferred."""


def peak(pid: int) -> int:
    """Largest resident memory of a process so far, bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def send_blocks(sock: socket.socket, total: int, chunked: bool) -> None:
    left = total
    while left:
        block = BLOCK[:left]
        left -= len(block)
        sock.sendall(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
    if chunked:
        sock.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("target", ["wsgi_app:app", "asgi_app:app"])
def test_memory_stays_flat(
    target: str, soak: Callable[[int, int], int], record: Callable[[str, object], None]
) -> None:
    total = soak(96, 1024) * 1024 * 1024
    words = ("--no-access-log", "--max-instances=1", "--spares=0", "--timeout=600")
    with Serve(target, *words, app_dir=APPS) as server:
        assert server.get("/").status == 200
        instance = server.function()["instances"][0]["pid"]
        before = peak(instance), peak(server.process.pid)
        for chunked in (False, True):
            with server.raw() as sock:
                framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % total
                sock.sendall(b"POST /upload HTTP/1.1\r\nHost: a.example\r\n" + framing + b"\r\n\r\n")
                sender = threading.Thread(target=send_blocks, args=(sock, total, chunked))
                sender.start()
                sock.settimeout(600)
                answer = read_answer(sock.makefile("rb"))
                sender.join()
            assert answer is not None
            assert json.loads(answer[2]) == {"bytes": total, "sum": total // 256 * sum(range(256)) % 2**32}
        with server.raw() as sock:
            sock.sendall(b"GET /download?bytes=%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % total)
            stream = sock.makefile("rb")
            while stream.readline() != b"\r\n":
                pass
            left = total
            while left:
                data = stream.read(min(left, len(BLOCK)))
                assert data == BLOCK[: len(data)]
                left -= len(data)
        assert server.function()["instances"][0]["pid"] == instance
        after = peak(instance), peak(server.process.pid)
        grown = [new - old for old, new in zip(before, after, strict=True)]
        figure = f"{target}: {total >> 20} MB three times: MB grown, instance and gateway"
        record(figure, [one >> 20 for one in grown])
        assert max(grown) < ROOM
