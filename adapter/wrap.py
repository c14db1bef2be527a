"""`serverless`: notes settings and hooks on an app, or on the function or class that makes one."""

from __future__ import annotations

from snapfork.adapter import calls, marks, settings
from snapfork.adapter import hooks as hook_names
from snapfork.adapter import interface as interfaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

    T = TypeVar("T")
    Hooks = Callable[[], Any] | Sequence[Callable[[], Any]]

    class Options(TypedDict, total=False):
        """What `serverless` takes by keyword: the settings, the four hooks, and the interface."""

        concurrency: int | None
        timeout: float | str
        memory: int | str | None
        min_instances: int
        max_instances: int | None
        spares: int
        idle_timeout: float | str
        max_requests: int | None
        queue_size: int
        queue_timeout: float | str
        max_body: int | str | None
        head_size: int | str
        head_timeout: float | str
        drain_timeout: float | str
        warmup: Sequence[str | dict[str, Any]]
        lifespan: Literal["auto", "template", "instance", "off"]
        env: dict[str, str]
        initializer: Hooks
        before_snapshot: Hooks
        after_fork: Hooks
        pre_stop: Hooks
        interface: Literal["wsgi", "asgi"]

    @overload
    def serverless(app: T, /, **options: Unpack[Options]) -> T: ...
    @overload
    def serverless(app: None = None, /, **options: Unpack[Options]) -> Callable[[T], T]: ...
    def serverless(app: Any = None, /, **options: Any) -> Any:
        """Mark a web app as a function with settings and hooks; `app` stays what it is."""

else:

    def serverless(app=None, /, **options):
        """Mark a web app as a function with settings and hooks; `app` stays what it is.

        `serverless(app)`, `serverless(app, timeout=5)`, `@serverless` or `@serverless(timeout=5)` above an
        application factory, a class, or an app that is a function. An app that is an object stays that very
        object, a function stays one of the same name and signature. A factory stays a function, a class
        stays the class: called, they make an app with these settings; nothing is called here.

        The app is a handler, too: `handler = serverless(app)` is what AWS Lambda and Alibaba FC call with an
        event and its context (see `snapfork.adapter.calls`). A function of (event, context) stays itself.

        `options` are settings (`snapfork.adapter.settings.SETTINGS`), the hooks `initializer`,
        `before_snapshot`, `after_fork` and `pre_stop` (a function or a list of functions), and `interface`
        ("wsgi" or "asgi") for the rare app whose signature does not tell. Raises SettingError, in one
        sentence, for a wrong name or value.
        """
        noted = _read(options)
        if app is None:
            return lambda thing: _mark(thing, noted)
        return _mark(app, noted)


def _read(options: dict[str, Any]) -> marks.Marks:
    layer: dict[str, Any] = {}
    hooks: dict[str, Any] = {}
    wanted = None
    for name, value in options.items():
        if name in hook_names.NAMES:
            hooks[name] = hook_names.check_all(name, value)
        elif name == "interface":
            if value not in interfaces.INTERFACES:
                raise settings.SettingError(f"interface must be 'wsgi' or 'asgi', not {value!r}.")
            wanted = value
        elif name in settings.BY_NAME:
            layer[name] = settings.parse(name, value)
        else:
            known = [*settings.BY_NAME, *hook_names.NAMES, "interface"]
            raise settings.SettingError("@serverless: " + settings.unknown(name, known, "setting or hook"))
    return marks.Marks(layer, hooks, wanted)


def _mark(thing: Any, noted: marks.Marks) -> Any:
    if not interfaces.is_handler(thing):
        if interfaces.is_factory(thing, noted.interface) and not isinstance(thing, type):
            return _marking_factory(thing, noted)
        thing = calls.handler(thing)
    if not isinstance(thing, type):
        _offer_deploy(thing)
    marks.attach(thing, noted)
    return thing


def _deploy(app: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    from snapfork.adapter.deploying import deploy

    return deploy(app, *args, **kwargs)


def _offer_deploy(app: Any) -> None:
    """Give an app `deploy` (see adapter/deploying.py), unless it has something of that name."""
    if hasattr(app, "deploy"):
        return
    try:
        if isinstance(app, type(_deploy)):
            app.__dict__["deploy"] = lambda *args, **kwargs: _deploy(app, *args, **kwargs)
        else:
            type(app).deploy = _deploy
    except (AttributeError, TypeError):
        pass  # a class of C: `snapfork.adapter.deploying.deploy(app)` is left


def _marking_factory(make: Callable[..., Any], noted: marks.Marks) -> Callable[..., Any]:
    def factory(*args: Any, **kwargs: Any) -> Any:
        app = make(*args, **kwargs)
        if callable(app):  # else the caller says what is wrong with it
            app = calls.handler(app)
            _offer_deploy(app)
            marks.attach(app, noted)
        return app

    # What functools.wraps does, without the price of importing it.
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        if hasattr(make, name):
            setattr(factory, name, getattr(make, name))
    factory.__dict__.update(getattr(make, "__dict__", {}))
    factory.__dict__["__wrapped__"] = make
    marks.attach(factory, noted)
    return factory
