"""`serverless` changes nothing about an app but what is noted on it."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
from snapfork.adapter import SettingError, marks, serverless


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


class App:
    """An app object of no framework."""

    def __init__(self, name: str = "app") -> None:
        self.name = name

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return [self.name.encode()]


class Slotted:
    __slots__ = ("name",)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


def settings_of(thing: Any) -> dict[str, Any]:
    found = marks.find(thing)
    assert found is not None
    return found.settings


@pytest.mark.parametrize("make", [App, Slotted, lambda: App().__call__, lambda: functools.partial(wsgi)])
def test_an_app_stays_the_very_same_object(make: Any) -> None:
    app = make()
    assert serverless(app, timeout=5) is app
    assert settings_of(app) == {"timeout": 5.0}
    assert marks.find(make()) is None


def test_a_function_that_is_an_app_stays_that_function() -> None:
    @serverless(concurrency=4)
    def app(environ: Any, start_response: Any) -> list[bytes]:
        return [b""]

    assert inspect.isfunction(app)
    assert settings_of(app) == {"concurrency": 4}

    @serverless
    async def other(scope: Any, receive: Any, send: Any) -> None: ...

    assert inspect.iscoroutinefunction(other)
    assert settings_of(other) == {}


def test_a_factory_stays_a_factory() -> None:
    built = []

    @serverless(timeout=5)
    def create_app(name: str = "default", *, loud: bool = False) -> App:
        """Makes it."""
        built.append(name)
        return App(name.upper() if loud else name)

    assert built == []
    assert inspect.isfunction(create_app)
    assert (create_app.__name__, create_app.__doc__) == ("create_app", "Makes it.")
    assert list(inspect.signature(create_app).parameters) == ["name", "loud"]
    app = create_app("shop", loud=True)
    assert (type(app), app.name) == (App, "SHOP")
    assert settings_of(app) == settings_of(create_app) == {"timeout": 5.0}
    assert create_app().name == "default"
    assert built == ["shop", "default"]


def test_a_factory_may_return_what_is_no_app() -> None:
    @serverless
    def create_app() -> None:
        return None

    assert create_app() is None  # type: ignore[func-returns-value]


def test_a_class_stays_the_class() -> None:
    @serverless(spares=2)
    class Shop(App):
        pass

    assert isinstance(Shop, type) and issubclass(Shop, App)
    shop = Shop("x")
    assert isinstance(shop, Shop) and shop.name == "x"
    assert settings_of(shop) == {"spares": 2}

    @serverless(timeout=3)
    class Corner(Shop):
        pass

    assert settings_of(Corner()) == {"spares": 2, "timeout": 3.0}
    assert settings_of(Shop()) == {"spares": 2}


def test_an_instance_of_a_marked_class_has_marks_of_its_own() -> None:
    @serverless(spares=2)
    class Shop(App):
        pass

    one, other = serverless(Shop(), timeout=1), Shop()
    assert settings_of(one) == {"spares": 2, "timeout": 1.0}
    assert settings_of(other) == {"spares": 2}


def test_the_later_call_wins_and_hooks_add_up_without_doubles() -> None:
    def connect() -> None: ...

    def more() -> None: ...

    app = App()
    serverless(app, timeout=1, spares=3, after_fork=connect)
    serverless(app, timeout=2, after_fork=[connect, more])
    found = marks.find(app)
    assert found is not None
    assert found.settings == {"timeout": 2.0, "spares": 3}
    assert found.hooks["after_fork"] == [connect, more]


def test_a_factory_called_twice_for_one_app_notes_its_hooks_once() -> None:
    def connect() -> None: ...

    app = App()

    @serverless(after_fork=connect)
    def create_app() -> App:
        return app

    create_app()
    found = marks.find(create_app())
    assert found is not None and found.hooks["after_fork"] == [connect]


def test_settings_are_found_through_middleware() -> None:
    class Middleware:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.app(environ, start_response)

    inner = serverless(App(), timeout=7, spares=2)
    outer = serverless(Middleware(Middleware(inner)), timeout=9)
    assert settings_of(outer) == {"timeout": 9.0, "spares": 2}
    assert settings_of(Middleware(inner)) == {"timeout": 7.0, "spares": 2}


def test_settings_survive_a_decorator_on_top() -> None:
    @serverless(timeout=7)
    def app(environ: Any, start_response: Any) -> list[bytes]:
        return [b""]

    @functools.wraps(app)
    def wrapped(*args: Any) -> list[bytes]:
        return app(*args)

    assert settings_of(wrapped) == {"timeout": 7.0}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concurency": 4}, "did you mean 'concurrency'"),
        ({"after_forks": print}, "did you mean 'after_fork'"),
        ({"timeout": -1}, "timeout must be"),
        ({"interface": "http"}, "'wsgi' or 'asgi'"),
        ({"after_fork": 3}, "must be a function"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        serverless(**options)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_app_is_refused() -> None:
    with pytest.raises(SettingError, match="neither an app nor"):
        serverless("shop")
