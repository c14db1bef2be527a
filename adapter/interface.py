"""Tells WSGI apps, ASGI apps and application factories apart by their signatures, without calling them."""

from __future__ import annotations

from snapfork.adapter import marks
from snapfork.adapter.settings import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect
    from typing import Any

INTERFACES = ("wsgi", "asgi")
_SAY_IT = "say which it is: @serverless(interface='wsgi') or 'asgi'"
_MAKERS = ("create", "make", "build", "get", "new", "init", "setup")
_FRAMEWORKS = frozenset(
    ["flask", "django", "fastapi", "starlette", "quart", "bottle", "falcon", "pyramid", "litestar", "sanic"]
)
"""Packages whose objects are web apps whatever their signatures say."""
_EVENTS = ("event", "events", "evt", "ev", "payload")
_CONTEXTS = ("context", "contexts", "ctx", "ctxt", "lambda_context", "fc_context")


class Shape:
    """How something can be called.

    required: names of the positional arguments it needs; takes: how many positional ones it takes at most,
    None for any number; keywords: names of the keyword-only arguments it needs.
    """

    __slots__ = ("is_async", "keywords", "names", "required", "takes")

    def __init__(self, signature: inspect.Signature, is_async: bool) -> None:
        parameters = list(signature.parameters.values())
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.names = [p.name for p in positional]
        self.required = [p.name for p in positional if p.default is p.empty]
        self.keywords = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY and p.default is p.empty]
        endless = any(p.kind == p.VAR_POSITIONAL for p in parameters)
        self.takes = None if endless else len(positional)
        self.is_async = is_async

    def accepts(self, count: int) -> bool:
        """Whether it can be called with `count` positional arguments and nothing else."""
        return (
            not self.keywords and len(self.required) <= count and (self.takes is None or count <= self.takes)
        )

    @property
    def needs(self) -> list[str]:
        """The names of all arguments without which it cannot be called."""
        return self.required + self.keywords


def shape_of(thing: Any) -> Shape | None:
    """How `thing` can be called; None where nothing tells."""
    import inspect  # late: it costs more than all of the adapter; frameworks have imported it already

    call = thing if _is_function(thing) or inspect.isclass(thing) else thing.__call__
    try:
        signature = inspect.signature(thing)
    except (ValueError, TypeError):
        return None
    return Shape(signature, inspect.iscoroutinefunction(call))


def is_factory(thing: Any, said: str | None = None) -> bool:
    """Whether `thing` makes an app when called, instead of being one.

    `said`: the interface its author gave, which makes an app of what would be in doubt. Raises SettingError
    if nothing tells, or if it is neither.
    """
    if not callable(thing):
        raise SettingError(f"{describe(thing)} is neither an app nor an application factory: name one.")
    if isinstance(thing, type):
        return _class_interface(thing) is None
    shape = shape_of(thing)
    if said and (shape is None or shape.takes is None or len(shape.required) > 1):
        return False
    if shape is None or (shape.takes is None and not shape.required):
        return _guess_factory(thing, shape)
    if shape.is_async and not shape.accepts(3):
        raise SettingError(_wrong_async(thing, shape))
    if _by_names(shape) is not None or shape.is_async:
        return False
    if not shape.required:
        return True
    if len(shape.required) == 1:
        _refuse_asgi2(thing, shape)
        return True
    return len(shape.required) != 2 or _is_maker(thing)


def is_handler(thing: Any, name: str = "") -> bool:
    """Whether `thing` is a function (or called like one) of an event and its context, and no web app.

    Two positional arguments are a WSGI app's, too: their names tell, or the `name` by which the function was
    found ("handler", "lambda_handler"). An async function of two arguments can be nothing else.
    """
    if isinstance(thing, type) or not callable(thing):
        return False
    known = marks.of(thing)
    shape = None if known is not None and known.interface else shape_of(thing)
    if shape is None or shape.takes is None or not shape.accepts(2) or len(shape.names) < 2:
        return False
    if _by_names(shape) is not None or shape.names[0].strip("_").lower() == "scope":
        return False
    if _names_event(shape):
        return len(shape.required) > 0
    if not _is_function(thing):
        return False
    return len(shape.required) == 2 and (shape.is_async or name.rpartition("_")[2] == "handler")


def is_plain_handler(thing: Any) -> bool:
    """Whether `thing` is a handler where handlers are what is deployed: callable with event and context, and
    neither a web app that can be told nor an application factory."""
    if not callable(thing) or isinstance(thing, type) or web_interface(thing) is not None:
        return False
    shape = shape_of(thing)
    if shape is None:
        return True
    return shape.accepts(2) and (len(shape.required) > 0 or _names_event(shape) or not _is_maker(thing))


def web_interface(app: Any) -> str | None:
    """ "wsgi" or "asgi" where marks, a framework's name or the names of its arguments tell of a web app."""
    return _web_interface(app, 0)


def detect(app: Any) -> str:
    """ "wsgi" or "asgi" for an app that is not a factory.

    Raises SettingError if nothing tells, or if it is no app.
    """
    found = _detect(app, 0)
    if found is None:
        raise SettingError(
            f"Whether {describe(app)} is WSGI or ASGI, its signature does not tell: {_SAY_IT}."
        )
    return found


def describe(thing: Any) -> str:
    """A short name of `thing` for a sentence: "create_app", "the Flask object", "the text 'abc'"."""
    name = getattr(thing, "__qualname__", None)
    if isinstance(name, str):
        return name.rpartition("<locals>.")[2]
    if isinstance(thing, (str, int, float, list, dict, tuple, bytes)) or thing is None:
        return repr(thing)[:60]
    return f"the {type(thing).__name__} object"


def _detect(app: Any, depth: int) -> str | None:
    known = marks.of(app)
    if known is not None and known.interface:
        return known.interface
    if not callable(app):
        raise SettingError(f"{describe(app)} is not an app: neither WSGI nor ASGI can call it.")
    if isinstance(app, type):
        return _class_interface(app)
    shape = shape_of(app)
    if shape is not None:
        if shape.is_async:
            if shape.accepts(3):
                return "asgi"
            raise SettingError(_wrong_async(app, shape))
        named = _by_names(shape)
        if named is not None:
            return named
        _refuse_asgi2(app, shape)
        if shape.takes is not None or shape.required:
            if not shape.accepts(2) and not shape.accepts(3):
                raise SettingError(_wrong_arguments(app, shape))
            return "wsgi" if shape.accepts(2) and len(shape.required) == 2 else None
    held = marks.inner(app)
    return None if held is None or depth >= marks.DEPTH else _detect(held, depth + 1)


def _web_interface(app: Any, depth: int) -> str | None:
    known = marks.of(app)
    if known is not None and known.interface:
        return known.interface
    if not callable(app):
        return None
    if isinstance(app, type):
        return _class_interface(app)
    shape = shape_of(app)
    if shape is not None:
        if (named := _by_names(shape)) is not None:
            return named
        if shape.is_async and len(shape.required) == 3:
            return "asgi"
    if _is_function(app):
        return None
    if type(app).__module__.partition(".")[0] in _FRAMEWORKS:
        return _detect(app, 0)
    held = marks.inner(app)
    return None if held is None or depth >= marks.DEPTH else _web_interface(held, depth + 1)


def _by_names(shape: Shape) -> str | None:
    names = [name.strip("_").lower() for name in shape.names]
    if len(names) >= 2 and shape.accepts(2) and names[0].startswith("env") and "resp" in names[1]:
        return "wsgi"
    if len(names) >= 3 and shape.accepts(3) and names[:3] == ["scope", "receive", "send"]:
        return "asgi"
    return None


def _names_event(shape: Shape) -> bool:
    names = [one.strip("_").lower() for one in shape.names[:2]]
    return len(names) == 2 and (names[0] in _EVENTS or names[1] in _CONTEXTS)


def _class_interface(cls: type) -> str | None:
    """The interface of a class whose instances are responses: made per request, then iterated or awaited."""
    shape = shape_of(cls)
    if shape is None:
        return None
    if hasattr(cls, "__await__") and shape.accepts(3) and len(shape.required) == 3:
        return "asgi"
    if hasattr(cls, "__iter__") and _by_names(shape) == "wsgi":
        return "wsgi"
    _refuse_asgi2(cls, shape)
    return None


def _guess_factory(thing: Any, shape: Shape | None) -> bool:
    # *args or no signature at all. Objects that are not functions are apps; of functions only names tell.
    if not _is_function(thing):
        return False
    if shape is not None and shape.is_async:
        return False
    if marks.inner(thing) is not None:
        return is_factory(marks.inner(thing))
    if _is_maker(thing):
        return True
    raise SettingError(
        f"Whether {describe(thing)} is an app or makes one cannot be told from its signature: {_SAY_IT}, "
        "or give a factory a signature without *args."
    )


def _is_function(thing: Any) -> bool:
    import inspect

    return inspect.isroutine(thing) or type(thing).__name__ == "partial"


def _is_maker(thing: Any) -> bool:
    name = getattr(thing, "__name__", None)
    return isinstance(name, str) and name.lstrip("_").lower().startswith(_MAKERS)


def _refuse_asgi2(thing: Any, shape: Shape) -> None:
    if shape.required == ["scope"]:
        raise SettingError(
            f"{describe(thing)} is an app of ASGI 2, called first with the scope alone: wrap it in "
            "asgiref.compatibility.guarantee_single_callable."
        )


def _wrong_async(thing: Any, shape: Shape) -> str:
    name = describe(thing)
    if not shape.required:
        return (
            f"{name} is an async factory, and no event loop runs when the app is made: "
            "make it a plain function, and move what it awaits to the app's lifespan."
        )
    return f"{name} is async with ({', '.join(shape.names)}): an ASGI app takes (scope, receive, send)."


def _wrong_arguments(thing: Any, shape: Shape) -> str:
    arguments = ", ".join(shape.names + [name for name in shape.keywords])
    return (
        f"{describe(thing)} is called with ({arguments}): a WSGI app takes (environ, start_response), "
        "an ASGI app (scope, receive, send)."
    )
