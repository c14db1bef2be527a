"""WSGI, ASGI and factories are told apart by their signatures; nothing is called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from snapfork.adapter import SettingError, interface, serverless


class Called(AssertionError):
    """Something was called that must not be."""


def refuse(*_: Any, **__: Any) -> Any:
    raise Called


def wsgi(environ: Any, start_response: Any) -> Any:
    refuse()


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    refuse()


def awaitable_asgi(scope: Any, receive: Any, send: Any) -> Any:
    refuse()


@functools.wraps(wsgi)
def decorated_wsgi(*args: Any, **kwargs: Any) -> Any:
    refuse()


@functools.wraps(asgi)
def decorated_asgi(*args: Any, **kwargs: Any) -> Any:
    refuse()


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Any:
        refuse()


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refuse()


class Slotted:
    __slots__ = ()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refuse()


class Middleware:
    """Middleware that passes on whatever it gets; only the app inside tells."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        refuse()


class WSGIResponse:
    """PEP 3333's example of a class that is itself an app."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        refuse()

    def __iter__(self) -> Any:
        refuse()


class ASGIEndpoint:
    """As Starlette's HTTPEndpoint: one object per request, awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        refuse()

    def __await__(self) -> Any:
        refuse()


class ASGI2:
    def __init__(self, scope: Any) -> None:
        refuse()

    async def __call__(self, receive: Any, send: Any) -> None:
        refuse()


def configured(config: Any, environ: Any, start_response: Any) -> Any:
    refuse()


@pytest.mark.parametrize(
    ("app", "found"),
    [
        (wsgi, "wsgi"),
        (asgi, "asgi"),
        (awaitable_asgi, "asgi"),
        (decorated_wsgi, "wsgi"),
        (decorated_asgi, "asgi"),
        (lambda e, s: refuse(), "wsgi"),
        (functools.partial(configured, {}), "wsgi"),
        (functools.partial(asgi), "asgi"),
        (WSGIObject(), "wsgi"),
        (ASGIObject(), "asgi"),
        (Slotted(), "asgi"),
        (ASGIObject().__call__, "asgi"),
        (Middleware(WSGIObject()), "wsgi"),
        (Middleware(Middleware(asgi)), "asgi"),
        (WSGIResponse, "wsgi"),
        (ASGIEndpoint, "asgi"),
    ],
)
def test_apps(app: Any, found: str) -> None:
    assert not interface.is_factory(app)
    assert interface.detect(app) == found


def no_arguments() -> Any:
    refuse()


def optional(config: Any = None, *, debug: bool = False) -> Any:
    refuse()


def only_keywords(**config: Any) -> Any:
    refuse()


def one(config: Any) -> Any:
    refuse()


def create_app(config: Any, debug: bool) -> Any:
    refuse()


def make_anything(*args: Any, **kwargs: Any) -> Any:
    refuse()


class Maker:
    def __call__(self) -> Any:
        refuse()


@pytest.mark.parametrize(
    "factory",
    [
        no_arguments,
        optional,
        only_keywords,
        one,
        create_app,
        make_anything,
        functools.partial(one, {}),
        Maker(),
        Maker().__call__,
        WSGIObject,
        ASGIObject,
        Middleware,
        functools.cache(no_arguments),
    ],
)
def test_factories(factory: Callable[..., Any]) -> None:
    assert interface.is_factory(factory)


def anything(*args: Any) -> Any:
    refuse()


def three(a: Any, b: Any, c: Any) -> Any:
    refuse()


async def async_factory() -> Any:
    refuse()


async def async_two(receive: Any, send: Any) -> Any:
    refuse()


def asgi2(scope: Any) -> Any:
    refuse()


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (anything, "interface='wsgi'"),
        (async_factory, "async factory"),
        (async_two, "(scope, receive, send)"),
        (asgi2, "guarantee_single_callable"),
        (ASGI2, "guarantee_single_callable"),
        ("shop", "neither an app nor"),
        (None, "None is neither"),
    ],
)
def test_what_is_neither_or_in_doubt_is_one_sentence(thing: Any, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        interface.is_factory(thing)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("thing", [anything, three, Middleware(None), no_arguments, async_two, asgi2, "x"])
def test_what_cannot_be_served_is_not_guessed(thing: Any) -> None:
    with pytest.raises(SettingError):
        interface.detect(thing)


@pytest.mark.parametrize(
    "make", [lambda: lambda *args: refuse(), lambda: lambda a, b, c: refuse(), Middleware]
)
def test_the_author_may_say_it(make: Any) -> None:
    thing = serverless(make(None) if make is Middleware else make(), interface="asgi")
    assert interface.detect(thing) == "asgi"
    assert interface.detect(Middleware(thing)) == "asgi"


def test_the_interface_said_of_a_factory_is_that_of_its_app() -> None:
    def create_app() -> Any:
        return Middleware(None)

    factory = serverless(create_app, interface="asgi")
    assert interface.is_factory(factory, "asgi")
    assert interface.detect(factory()) == "asgi"


def test_middleware_in_a_ring_ends() -> None:
    first = Middleware(None)
    first.app = Middleware(first)
    with pytest.raises(SettingError):
        interface.detect(first)
