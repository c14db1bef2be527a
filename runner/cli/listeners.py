"""The sockets that requests come in by, bound before anything else costs time."""

from __future__ import annotations

import errno
import os
import socket
import stat

from snapfork.runner import systemd
from snapfork.runner.errors import UserError
from snapfork.runner.runtime_dir import SOCKET_PATH_LIMIT

HOST, PORT = "127.0.0.1", 8000


def open_listeners(
    host: str | None, port: int | None, uds: str | None
) -> tuple[list[socket.socket], list[str]]:
    """Inherited sockets, else a Unix socket at `uds`, else TCP on `host`:`port`; with a URL for each.

    All are non-blocking; only inherited ones listen already. Raises UserError.
    """
    if uds and (host is not None or port is not None):
        typed = "--host" if port is None else "--port"
        raise UserError(
            f"--uds and {typed} exclude each other: a runner listens on one of them.",
            f"Leave {typed} away, or --uds; what systemd hands over may be several sockets.",
        )
    sockets = systemd.inherited_sockets()
    if not sockets:
        sockets = [
            _unix(uds) if uds else _tcp(HOST if host is None else host, PORT if port is None else port)
        ]
    return sockets, [url_of(sock) for sock in sockets]


def own_file(sockets: list[socket.socket], uds: str | None) -> tuple[str, int, int] | None:
    """The socket file that open_listeners made; None for TCP and inherited sockets (they listen already)."""
    inherited = any(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in sockets)
    return file_of(uds) if uds and not inherited else None


def file_of(path: str) -> tuple[str, int, int] | None:
    """A socket file's (path, device, inode), to know it again; None when there is none."""
    path = os.path.abspath(path)
    try:
        info = os.lstat(path)
    except OSError:  # somebody has removed it
        return None
    return path, info.st_dev, info.st_ino


def remove_file(file: tuple[str, int, int]) -> None:
    """Remove a socket file, unless a later server has put its own there."""
    if file_of(file[0]) == file:
        os.unlink(file[0])


def url_of(sock: socket.socket) -> str:
    """ "http://127.0.0.1:8000", "http://[::1]:8000" or "unix:/path"."""
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = os.fsdecode(address)
        return "unix:" + ("@" + path[1:] if path.startswith("\0") else path)
    host, port = address[0], address[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _tcp(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: a port is a number from 0 (any free one) to 65535.")
    family, address = _look_up(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _bind_error(error, host, port) from None
    sock.setblocking(False)
    return sock


def _look_up(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        found = socket.getaddrinfo(bare or "0.0.0.0", port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"--host {host}: no such host name or address here.",
            "Use 127.0.0.1 for this machine only, 0.0.0.0 for everybody.",
        ) from None
    # IPv4 first: "localhost" then means the address that the printed URL and most clients use.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, address  # type: ignore[return-value]


def _bind_error(error: OSError, host: str, port: int) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"Port {port} on {host} is in use by another program.",
            f"Choose another (--port {port + 1 if port < 65535 else 8000}), or --port 0 for any free one; "
            "`runner ps` lists running runners.",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(
            f"Port {port} needs privileges that this user does not have.",
            f"Use a port from 1024 up, for example --port {port + 8000 if port < 1024 else 8000}, "
            "or inherit the socket from systemd.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UserError(
            f"--host {host}: this machine has no such address.",
            "Use 127.0.0.1 for this machine only, 0.0.0.0 for everybody.",
        )
    return UserError(f"Cannot listen on {host}:{port}: {error.strerror or error}.")


def _unix(path: str) -> socket.socket:
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise UserError(f"--uds {path}: longer than the {SOCKET_PATH_LIMIT} bytes that a Unix socket allows.")
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except FileNotFoundError:
        sock.close()
        raise UserError(
            f"--uds {path}: the directory {os.path.dirname(path)} does not exist.",
            f"Type: mkdir -p {os.path.dirname(path)}",
        ) from None
    except OSError as error:
        sock.close()
        raise UserError(f"--uds {path}: {error.strerror or error}.") from None
    sock.setblocking(False)
    return sock


def _clear_stale(path: str) -> None:
    """Remove a socket file that nobody listens on. Raises UserError when it is in use or no socket."""
    try:
        info = os.lstat(path)
    except OSError:  # not there, or its directory is not: bind tells which
        return
    if not stat.S_ISSOCK(info.st_mode):
        hint = "Choose another path, or remove the file."
        raise UserError(f"--uds {path}: exists and is not a socket.", hint)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            raise UserError(f"--uds {path}: {error.strerror or error}.") from None
    raise UserError(
        f"--uds {path}: another server listens there.",
        "Stop it first, or choose another path; `runner ps` lists running runners.",
    )
