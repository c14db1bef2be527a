"""Who listens to libraries: receivers of blinker's signals (Flask's), and listeners of SQLAlchemy's events.

Both keep them by id(), so that they are told again.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

Known = Mapping[int, tuple[int, Any]]
"""What has been captured: id -> (its number, itself), as in a pickler's memo."""
Connections = list[tuple[Any, Any, Any]]


def of_signal(signal: Any) -> Connections:
    """(signal, receiver, sender or None) of each connection."""
    found: Connections = []
    for number, reference in list(signal.receivers.items()):
        receiver = reference() if hasattr(reference, "__callback__") else reference
        for sender_id in list(signal._by_receiver.get(number, ())):
            if sender_id == 0:
                found.append((signal, receiver, None))
            elif isinstance(sender_id, str):
                found.append((signal, receiver, sender_id))
            elif (sender := signal._weak_senders.get(sender_id, _nothing)()) is not None:
                found.append((signal, receiver, sender))
    return [one for one in found if one[1] is not None]


def _nothing() -> None:
    return None


def signals(known: Known) -> Connections:
    """Those of the signals that libraries hold to what is captured; others they connect themselves."""
    base = sys.modules.get("blinker.base")
    if base is None:
        return []
    found: dict[int, Any] = {}
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType):
            held = list(vars(module).values())
            found |= {id(one): one for one in held if issubclass(type(one), base.Signal)}
    return [
        one
        for number, signal in found.items()
        if number not in known
        for one in of_signal(signal)
        if _is_known(one[1], known)
    ]


def _is_known(function: Any, known: Known) -> bool:
    if type(function) is types.MethodType:
        return id(function.__self__) in known
    return id(function) in known


def reduce_signal(signal: Any) -> Any:
    """A signal without its connections, which are made when it is back."""
    state = {
        name: value
        for name, value in vars(signal).items()
        if name not in ("receivers", "_by_receiver", "_by_sender", "_weak_senders")
    }
    return (
        make_signal,
        (type(signal),),
        (state, [one[1:] for one in of_signal(signal)]),
        None,
        None,
        fill_signal,
    )


def make_signal(kind: Any) -> Any:
    """A signal without a name and connections."""
    made = kind.__new__(kind)
    sys.modules["blinker.base"].Signal.__init__(made)
    return made


def fill_signal(signal: Any, state: tuple[dict[str, Any], list[tuple[Any, Any]]]) -> None:
    """Give it both."""
    vars(signal).update(state[0])
    connect([(signal, *one) for one in state[1]])


def connect(connections: Connections) -> None:
    """Have the receivers called again."""
    for signal, receiver, sender in connections:
        if sender is None:
            signal.connect(receiver)
        else:
            signal.connect(receiver, sender)


def events(known: Known) -> list[tuple[Any, str, Any]]:
    """(target, event, function) of each function that is captured."""
    registry = sys.modules.get("sqlalchemy.event.registry")
    if registry is None:
        return []
    return list(_events(registry, known))


def _events(registry: Any, known: Known) -> Iterator[tuple[Any, str, Any]]:
    for (target_id, identifier, function_id), where in list(registry._key_to_collection.items()):
        if not isinstance(function_id, int) or function_id not in known:
            continue
        function = known[function_id][1]
        target = known[target_id][1] if target_id in known else _class_of(target_id, where)
        if target is not None:
            yield target, identifier, function


def _class_of(number: int, where: Any) -> Any:
    """The class of a library that has this id and listens."""
    for reference in list(where):
        owner = reference()
        for cls in list(getattr(owner, "_clslevel", ())):
            if id(cls) == number:
                return cls
    return None


def listen(told: list[tuple[Any, str, Any]]) -> None:
    """Have the functions called again."""
    if told:
        from sqlalchemy import event  # type: ignore[import-not-found,unused-ignore]

        for target, identifier, function in told:
            if not event.contains(target, identifier, function):
                event.listen(target, identifier, function)
