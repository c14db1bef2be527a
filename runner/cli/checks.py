"""What was typed for `runner serve`, checked before anything costs time: mistakes are UserErrors."""

from __future__ import annotations

import ipaddress
import os
import socket

from snapfork.runner.cli import django_project
from snapfork.runner.console import Console
from snapfork.runner.errors import UserError


def default_target(directory: str, mounts: list[str], console: Console) -> list[str]:
    """What to serve when no target was typed, [] for what is deployed. Raises UserError."""
    if mounts:
        return []
    found = django_project.find(directory)
    if found:
        console.info(f"no target was given; found manage.py: serving this Django project ({found})")
        return [found]
    if os.path.exists(os.path.join(directory, "manage.py")):
        raise UserError(
            f"manage.py in {directory} names no settings with an application beside them.",
            "Name the application: runner serve mysite.wsgi:application",
        )
    return []


def app_directory(typed: str | None, needed: bool) -> str:
    """Where the app's modules are. Raises UserError.

    What is deployed comes from the data directory: a runner without a target may be started where its user
    may not look, or where nothing is any more; then "/", in which nothing is looked for.
    """
    try:
        return existing_directory("--app-dir", typed or ".")
    except UserError:
        if needed or typed:
            raise
        return "/"


def existing_directory(option: str, path: str) -> str:
    """The absolute path of a directory. Raises UserError."""
    try:
        absolute = os.path.abspath(os.path.expanduser(path))
    except FileNotFoundError:
        raise UserError(
            f"{option} {path}: the current directory is gone.", "Change to one that exists."
        ) from None
    if os.path.isdir(absolute):
        return absolute
    if os.path.exists(absolute):
        raise UserError(f"{option} {path}: is a file, not a directory.")
    raise UserError(f"{option} {path}: no such directory.", f"It would be {absolute}.")


def check_proxies(text: str) -> list[str]:
    """A comma-separated list of addresses, networks, "unix" and "*". Raises UserError."""
    proxies = [part.strip() for part in text.split(",") if part.strip()]
    for proxy in proxies:
        if proxy in ("unix", "*"):
            continue
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise UserError(
                f"--trusted-proxies: '{proxy}' is not an address or network.",
                "For example: --trusted-proxies 127.0.0.1,10.0.0.0/8,unix",
            ) from None
    return proxies


def check_control(text: str) -> tuple[str, int] | None:
    """HOST:PORT on loopback, or None for "off". Raises UserError; tries the address once."""
    if text == "off":
        return None
    host, colon, digits = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not colon or not digits.isdigit() or int(digits) > 65535:
        raise UserError(
            f"--control {text}: HOST:PORT or off is needed.", "For example: --control 127.0.0.1:9100"
        )
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UserError(
            f"--control {text}: the control address must be on loopback: it answers whoever reaches it.",
            "Use 127.0.0.1:PORT, and a proxy with authentication or an SSH tunnel for other machines.",
        )
    _try_bind(text, address, int(digits))
    return address, int(digits)


def _try_bind(text: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise UserError(
                f"--control {text}: {error.strerror}.", "Use --control 127.0.0.1:0 for any free port, or off."
            ) from None
