"""Reducers for what libraries make of the outside: connection pools, TLS contexts, templates, wrappers.

What can be made anew from its configuration travels without what it had open. Types are found by name: no
library is imported for this.
"""

from __future__ import annotations

import ctypes
import ssl
from collections.abc import Callable
from typing import Any

from snapfork.adapter.snapshots import listeners, rebuild
from snapfork.adapter.snapshots.errors import Refused

_STATE = ("options", "verify_flags", "verify_mode", "check_hostname", "minimum_version", "maximum_version")


def _sqlalchemy_pool(pool: Any) -> Any:
    """A pool of the same kind without connections, as after Engine.dispose()."""
    return pool.recreate().__reduce_ex__(5)


def _sqlalchemy_session(session: Any) -> Any:
    """A session of the same settings, with nothing loaded and no transaction."""
    if session._new or session._deleted or session.dirty:
        raise Refused("it has changes that are not written yet")
    state = {name: value for name, value in vars(session).items() if name not in _OF_THE_TRANSACTION}
    return (rebuild.make_sqlalchemy_session, (type(session),), state, None, None, rebuild.fill_dict)


def _wrapper(wrapper: Any) -> Any:
    """A function that `wrapt` has decorated: its class is not to be found by its name."""
    if type(wrapper).__name__ not in ("FunctionWrapper", "_AdapterFunctionWrapper"):
        raise Refused("it is bound to an object")
    parts = (wrapper.__wrapped__, wrapper._self_wrapper, wrapper._self_enabled)
    if type(wrapper).__name__ == "FunctionWrapper":
        return (rebuild.make_wrapper, parts)
    return (rebuild.make_decorator, (*parts, wrapper._self_surrogate._self_adapter))


def _jinja_template(template: Any) -> Any:
    """With its compiled code; `Template.__new__` would compile source."""
    return (rebuild.make_object, (type(template),), vars(template), None, None, rebuild.fill_dict)


def ssl_context(context: Any) -> Any:
    """The same settings and authorities. Refused with a certificate of its own, whose key cannot be read."""
    if type(context) is not ssl.SSLContext or _has_own_certificate(context):
        raise Refused("it may hold a private key")
    state = {name: int(getattr(context, name)) for name in _STATE}
    ciphers = ":".join(entry["name"] for entry in context.get_ciphers())
    authorities = b"".join(context.get_ca_certs(binary_form=True))
    return (rebuild.make_ssl_context, (int(context.protocol), state, ciphers, authorities))


def _has_own_certificate(context: ssl.SSLContext) -> bool:
    """Asked of OpenSSL: Python does not tell. True where it cannot be known.

    CPython's context begins, behind the object's head, with its SSL_CTX pointer (Modules/_ssl.c); that this
    is so is tried with a value that Python tells as well.
    """
    try:
        library = ctypes.CDLL(ssl._ssl.__file__)  # type: ignore[attr-defined]
        options, certificate = library.SSL_CTX_get_options, library.SSL_CTX_get0_certificate
    except (AttributeError, OSError, TypeError):
        return True
    options.argtypes = certificate.argtypes = [ctypes.c_void_p]
    options.restype, certificate.restype = ctypes.c_uint64, ctypes.c_void_p
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if not pointer or options(pointer) & 0xFFFFFFFF != int(context.options) & 0xFFFFFFFF:
        return True
    return certificate(pointer) is not None


_OF_THE_TRANSACTION = ("identity_map", "_new", "_deleted", "_transaction", "_nested_transaction", "hash_key")

REDUCERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("_wrappers", "_FunctionWrapperBase"): _wrapper,
    ("wrapt.wrappers", "_FunctionWrapperBase"): _wrapper,
    ("blinker.base", "Signal"): listeners.reduce_signal,
    ("sqlalchemy.pool.impl", "QueuePool"): _sqlalchemy_pool,
    ("sqlalchemy.orm.session", "Session"): _sqlalchemy_session,
    ("jinja2.environment", "Template"): _jinja_template,
    ("ssl", "SSLContext"): ssl_context,
}
