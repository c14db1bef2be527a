"""What a call of an app means: three arguments ASGI, two with a callable second WSGI, two with data first an
event of Lambda or FC, so that `handler = serverless(app)` is a handler, too.

The app stays the object it is: its class gets a `__call__` that looks at the arguments first. Objects of that
class that nobody gave to `serverless` are called as ever. A function is wrapped in one that looks like it.
The runner's own instances call what is beneath (`plain`), so that their requests pay nothing for this.
"""

from __future__ import annotations

from snapfork.adapter import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_DATA = (dict, bytes, bytearray, str, list, int, float, bool, type(None))
_CO_COROUTINE = 0x80
_Function = type(lambda: None)
_Method: Any = type(marks.Marks({}, {}).under)


def handler(app: Any) -> Any:
    """`app` (a class, a function, an object), such that a call with an event and its context answers it.

    Objects and classes are changed in place. What can be neither wrapped nor changed (bound methods,
    partials, objects of C classes) comes back as it is, and takes no events.
    """
    if isinstance(app, type):
        _install(app)
    elif isinstance(app, _Function):
        if app.__code__ == _CODE:
            return app
        return FunctionCall(app) if app.__code__.co_flags & _CO_COROUTINE else _wrap(app)
    elif not isinstance(app, (Looks, _Method)) and type(app).__name__ != "partial":
        _install(type(app))
    return app


def plain(app: Any) -> Any:
    """What is called for a request when `app` is: without a look at the arguments."""
    while True:
        if isinstance(app, FunctionCall):
            app = app.__wrapped__
        elif isinstance(app, _Function) and app.__code__ == _CODE:
            app = app.__wrapped__  # type: ignore[attr-defined]
        else:
            call = _call_of(type(app))
            if isinstance(app, _Method) and isinstance(app.__func__, ClassCall):
                call, app = app.__func__, app.__self__
            if not isinstance(call, ClassCall):
                return app
            app = call.beneath(app)


class Looks:
    """Looks like the function beneath it: code, signature, and whether it is async.

    Whoever asks (inspect, servers that know ASGI by it) gets that function's answers.
    """

    __wrapped__: Any

    def __init__(self, beneath: Any) -> None:
        self.__wrapped__ = beneath
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(beneath, name):
                setattr(self, name, getattr(beneath, name))

    def _of_function(name: str) -> Any:  # type: ignore[misc]  # noqa: N805
        return property(lambda self: getattr(self.__wrapped__, name))

    __code__ = _of_function("__code__")
    __defaults__ = _of_function("__defaults__")
    __kwdefaults__ = _of_function("__kwdefaults__")
    __annotations__ = _of_function("__annotations__")
    del _of_function


class FunctionCall(Looks):
    """In place of an async function that is an app: of an event, the answer and no coroutine comes back."""

    def __init__(self, beneath: Any) -> None:
        super().__init__(beneath)
        # uvicorn and others ask this attribute of what is no plain function; calls go by the class's.
        self.__dict__["__call__"] = beneath
        self.__dict__.update(beneath.__dict__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self, self.__wrapped__, args, kwargs)


class ClassCall(Looks):
    """In place of the `__call__` of `owner`, whose own or inherited one is beneath."""

    def __init__(self, beneath: Any, owner: type, inherited: bool) -> None:
        super().__init__(beneath)
        self._owner = owner
        self._inherited = inherited

    def __get__(self, thing: Any, _cls: Any = None) -> Any:
        return self if thing is None else _Method(self, thing)

    def beneath(self, thing: Any) -> Any:
        """What `thing` calls without us. An inherited one is looked up anew: others may change it, too."""
        if self._inherited:
            return super(self._owner, thing).__call__  # type: ignore[arg-type]
        return _Method(self.__wrapped__, thing)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        count = len(args)
        if count == 4 or (count == 3 and callable(args[2])):
            if not self._inherited:
                return self.__wrapped__(*args, **kwargs)
        elif args and marks.of(args[0]) is not None:
            return _call(args[0], self.beneath(args[0]), args[1:], kwargs)
        return self.beneath(args[0])(*args[1:], **kwargs)


def _call_of(cls: type) -> Any:
    return getattr(cls, "__call__", None)  # noqa: B004  # what is there, and not whether


def _install(cls: type) -> None:
    own = cls.__dict__.get("__call__")
    found = own or _call_of(cls)
    if found is None or isinstance(own, ClassCall) or (own is not None and not isinstance(own, _Function)):
        return
    beneath = found
    while isinstance(beneath, ClassCall):
        beneath = beneath.__wrapped__
    if not isinstance(beneath, _Function):
        return
    try:
        cls.__call__ = ClassCall(beneath, cls, own is None)  # type: ignore[method-assign]
    except (AttributeError, TypeError):
        return  # a class of C: nothing can be put there


def _wrap(app: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return _call(call, app, args, kwargs)

    # What functools.wraps does, without the price of importing it.
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(call, name, getattr(app, name))
    call.__dict__.update(app.__dict__)
    call.__dict__["__wrapped__"] = app
    return call


_CODE = _wrap(_wrap).__code__


def _call(app: Any, beneath: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    count = len(args)
    if kwargs or count == 3 or (count == 2 and callable(args[1])):
        return beneath(*args, **kwargs)
    if count == 2 and isinstance(args[0], _DATA):
        from snapfork.adapter.events.direct import answer

        return answer(app, args[0], args[1])
    given = ", ".join(type(one).__name__ for one in args)
    raise TypeError(
        f"{getattr(app, '__qualname__', None) or type(app).__name__} is called as a WSGI app with (environ, "
        "start_response), as an ASGI app with (scope, receive, send), or as a handler with (event, context), "
        f"where event is data; not with ({given})."
    )
