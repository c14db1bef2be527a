"""What an open descriptor is, whether forked instances may share it, and what to do if they may not."""

from __future__ import annotations

import os
import socket
import stat
from typing import NamedTuple

_SERVICES = {
    3306: "MySQL",
    4317: "OpenTelemetry",
    5432: "PostgreSQL",
    5672: "RabbitMQ",
    6379: "Redis",
    9042: "Cassandra",
    9092: "Kafka",
    9200: "Elasticsearch",
    11211: "memcached",
    27017: "MongoDB",
}
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts/")
_POLLERS = ("[eventpoll]", "[eventfd]", "[timerfd]", "[signalfd]", "[io_uring]", "inotify")
_SQLITE_MAGIC = b"SQLite format 3\0"
_SQLITE_COMPANIONS = ("-wal", "-shm", "-journal")


def open_descriptors() -> dict[int, str]:
    """This process's descriptors and what they point to."""
    found: dict[int, str] = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            continue  # the descriptor that listed the directory
    return found


class Descriptor(NamedTuple):
    """One descriptor as an audit sees it. `severity` is "spawn" or "note"; `identity` outlives its number."""

    severity: str
    kind: str
    object: str
    cure: str
    identity: str


def describe(fd: int, target: str) -> Descriptor | None:
    """Judge descriptor `fd` that /proc shows as `target`; None if it is harmless or gone."""
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            return _socket(fd, target)
        if target.startswith("anon_inode:"):
            return _anonymous(fd, target.removeprefix("anon_inode:"))
        if stat.S_ISFIFO(mode):
            return _pipe(target)
        if stat.S_ISCHR(mode):
            return _device(target)
        if stat.S_ISREG(mode):
            return _file(fd, target)
    except OSError:
        return None  # closed meanwhile
    return None


def _socket(fd: int, target: str) -> Descriptor | None:
    with socket.socket(fileno=os.dup(fd)) as sock:
        kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        peer = _address(sock, "getpeername")
        own = _address(sock, "getsockname")
        listening = kind != socket.SOCK_DGRAM and _listening(sock)
    if listening:
        cure = "Listen in an after_fork hook if instances are to accept on it."
        return Descriptor("note", "listening socket", own or target, cure, target)
    if kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        cure = "Instances share it; harmless for datagrams that are only sent."
        return Descriptor("note", "datagram socket", _named("to", peer) or target, cure, target)
    cure = "Connect in an after_fork hook, or close the connection in a before_snapshot hook."
    if peer:
        return Descriptor("spawn", "connection", f"{_named('to', peer)}{_service(peer)}", cure, target)
    name = "unnamed pair" if sock.family == socket.AF_UNIX else f"not connected, {own or target}"
    return Descriptor("spawn", "socket", name, "Make the socket in an after_fork hook.", target)


def _listening(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _address(sock: socket.socket, which: str) -> str:
    try:
        address = getattr(sock, which)()
    except OSError:
        return ""
    if isinstance(address, tuple):
        host, port = str(address[0]), address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(address).replace("\0", "@")


def _named(word: str, address: str) -> str:
    return f"{word} {address}" if address else ""


def _service(address: str) -> str:
    port = address.rpartition(":")[2]
    name = _SERVICES.get(int(port)) if port.isdigit() else None
    return f" ({name})" if name else ""


def _anonymous(fd: int, name: str) -> Descriptor | None:
    if name not in _POLLERS and not name.startswith("inotify"):
        return None
    cure = "It belongs to an event loop or a watcher; make that in an after_fork hook."
    return Descriptor("spawn", "poller", name.strip("[]"), cure, f"{name}#{fd}")


def _pipe(target: str) -> Descriptor:
    cure = "Make the pipe (or the subprocess or queue behind it) in an after_fork hook."
    return Descriptor("spawn", "pipe", target, cure, target)


def _device(target: str) -> Descriptor | None:
    if target.startswith(_HARMLESS):
        return None
    if target.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")):
        cure = "A GPU context does not survive a fork; use the GPU first in an after_fork hook."
        return Descriptor("spawn", "GPU", target, cure, target)
    return Descriptor("note", "device", target, "Instances share it.", target)


def _file(fd: int, target: str) -> Descriptor | None:
    flags = _flags(fd)
    access = flags & os.O_ACCMODE
    if target.startswith("/memfd:") or target.startswith("/dev/shm/"):
        return Descriptor("note", "shared memory", target, "Instances share it.", target)
    if target.endswith(_SQLITE_COMPANIONS) or _is_sqlite(fd, access):
        name = target
        for suffix in _SQLITE_COMPANIONS:
            name = name.removesuffix(suffix)
        cure = "Open the database in an after_fork hook, or close it in a before_snapshot hook."
        return Descriptor("spawn", "SQLite file", name, cure, f"sqlite:{name}")
    if access == os.O_RDWR:
        cure = "Instances share its position and locks; open it in an after_fork hook."
        return Descriptor("spawn", "file open for reading and writing", target, cure, f"{target}#{fd}")
    if access == os.O_WRONLY:
        kind = "file open for appending" if flags & os.O_APPEND else "file open for writing"
        cure = "Instances write to the same description; each line stays whole if written at once."
        return Descriptor("note", kind, target, cure, f"{target}#{fd}")
    cure = "Instances share its position; read it whole, or open it in an after_fork hook."
    return Descriptor("note", "file open for reading", target, cure, f"{target}#{fd}")


def _flags(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        for line in file:
            if line.startswith("flags:"):
                return int(line.split()[1], 8)
    return 0


def _is_sqlite(fd: int, access: int) -> bool:
    return access != os.O_WRONLY and os.pread(fd, 16, 0) == _SQLITE_MAGIC
