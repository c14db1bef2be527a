"""The two things a service manager offers: sockets that are open already, and news about our state."""

from __future__ import annotations

import os
import socket
import time

FIRST_FD = 3


def inherited_sockets() -> list[socket.socket]:
    """Stream sockets passed by LISTEN_FDS to this very process: listening, non-blocking, close-on-exec.

    The variables are removed, so that no child takes them for its own. Sockets that do not accept
    connections are left alone.
    """
    count = os.environ.pop("LISTEN_FDS", "")
    pid = os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or pid != str(os.getpid()):
        return []
    return [sock for fd in range(FIRST_FD, FIRST_FD + int(count)) if (sock := _adopt(fd)) is not None]


def _adopt(fd: int) -> socket.socket | None:
    try:
        sock = socket.socket(fileno=fd)
    except OSError:  # not a socket, or not open
        return None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        return None
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def notify(state: str) -> bool:
    """Send `state` ("READY=1", "STOPPING=1", ...) to NOTIFY_SOCKET; False when nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), socket.MSG_DONTWAIT, address)
        except OSError:  # the manager went away: serving goes on without it
            return False
    return True


def ready() -> bool:
    """Requests are answered from now on."""
    return notify("READY=1")


def reloading() -> bool:
    """A reload has begun; ready() tells its end."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")


def stopping() -> bool:
    """The runner is about to leave."""
    return notify("STOPPING=1")
