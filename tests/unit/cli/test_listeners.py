"""Every way to listen, and one sentence for every way that it fails."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from snapfork.runner.cli import checks, listeners
from snapfork.runner.errors import UserError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_any_free_port_is_printed() -> None:
    (sock,), (url,) = listeners.open_listeners("127.0.0.1", 0, None)
    with sock:
        assert url == f"http://127.0.0.1:{sock.getsockname()[1]}"
        assert not sock.getblocking()


def test_ipv6_has_brackets() -> None:
    try:
        (sock,), (url,) = listeners.open_listeners("::1", 0, None)
    except UserError:
        pytest.skip("no IPv6 here")
    with sock:
        assert url.startswith("http://[::1]:")


def test_a_taken_port(taken: int) -> None:
    with pytest.raises(UserError, match=f"Port {taken} on 127.0.0.1 is in use") as caught:
        listeners.open_listeners("127.0.0.1", taken, None)
    assert "--port 0" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("no.such.host.invalid", 8000, "no such host"),
        ("192.0.2.1", 0, "no such address"),
        ("127.0.0.1", 70000, "from 0"),
    ],
)
def test_wrong_places(host: str, port: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        listeners.open_listeners(host, port, None)


def test_a_privileged_port_is_a_sentence() -> None:
    error = listeners._bind_error(PermissionError(13, "Permission denied"), "127.0.0.1", 80)
    assert "privileges" in error.sentence
    assert "--port 8080" in str(error.hint)


def test_a_unix_socket_in_use_is_kept_and_a_stale_one_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    (first,), (url,) = listeners.open_listeners(None, None, path)
    assert url == f"unix:{path}"
    first.listen()
    with pytest.raises(UserError, match="another server listens there"):
        listeners.open_listeners(None, None, path)
    first.close()
    (second,), _ = listeners.open_listeners(None, None, path)
    second.close()


def test_wrong_unix_paths(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.write_text("precious")
    for path, says in [
        (str(plain), "not a socket"),
        (str(tmp_path / "missing" / "a.sock"), "does not exist"),
        (str(tmp_path / ("x" * 120)), "longer than"),
    ]:
        with pytest.raises(UserError, match=says):
            listeners.open_listeners(None, None, path)
    assert plain.read_text() == "precious"


def test_the_control_address_must_be_free_loopback(taken: int) -> None:
    assert checks.check_control("off") is None
    assert checks.check_control("localhost:0") == ("127.0.0.1", 0)
    for text, says in [
        ("0.0.0.0:9000", "must be on loopback"),
        ("example.com:9000", "must be on loopback"),
        ("9000", "HOST:PORT"),
        (f"127.0.0.1:{taken}", "in use"),
    ]:
        with pytest.raises(UserError, match=says):
            checks.check_control(text)


def test_trusted_proxies_are_checked() -> None:
    assert checks.check_proxies("10.0.0.0/8, unix,::1") == ["10.0.0.0/8", "unix", "::1"]
    with pytest.raises(UserError, match="'nginx' is not an address"):
        checks.check_proxies("nginx")


def test_directories(tmp_path: Path) -> None:
    assert checks.existing_directory("--app-dir", str(tmp_path)) == str(tmp_path)
    (tmp_path / "f").write_text("")
    with pytest.raises(UserError, match="no such directory"):
        checks.existing_directory("--app-dir", str(tmp_path / "missing"))
    with pytest.raises(UserError, match="is a file"):
        checks.existing_directory("--app-dir", os.fspath(tmp_path / "f"))


def test_a_runner_without_a_target_may_be_started_where_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert checks.app_directory(None, needed=False) == str(gone)
    gone.rmdir()
    assert checks.app_directory(None, needed=False) == "/"
    with pytest.raises(UserError, match="the current directory is gone"):
        checks.app_directory(None, needed=True)
    with pytest.raises(UserError, match="no such directory"):
        checks.app_directory(str(gone), needed=False)
