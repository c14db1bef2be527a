"""Template objects whose reference counts instances no longer write (PEP 683, CPython 3.12 and newer).

To use an object is to count a reference, and the first count in an instance copies the object's page: most of
what a start costs. CPython does not count references to objects that are marked as immortal. Before a
template freezes, those of its objects that own nothing an app could want released are marked: code,
functions, classes, modules, strings, numbers, and tuples of these. They live as long as the template in any
case; in an instance, one that the app drops stays in memory, where it is shared with the others.

CPython has no call for this; the field's place and value are from Include/object.h of the versions in
`_MARKS`, and are tried out before anything is marked. Elsewhere nothing happens.
"""

from __future__ import annotations

import functools
import gc
import sys
import sysconfig
import types
from typing import Any

_MARKS = {(3, 12): 0xFFFFFFFF, (3, 13): 0xFFFFFFFF}
"""_Py_IMMORTAL_REFCNT: the lower half of the 64-bit ob_refcnt, by version."""
_LEAVES: frozenset[type] = frozenset(
    {
        types.FunctionType,
        types.CodeType,
        types.ModuleType,
        types.MethodDescriptorType,
        types.WrapperDescriptorType,
        types.GetSetDescriptorType,
        types.MemberDescriptorType,
        types.ClassMethodDescriptorType,
        property,
        staticmethod,
        classmethod,
        str,
        bytes,
        int,
        float,
        complex,
        type(None),
    }
)
_DEEPEST = 4  # tuples within tuples; what is deeper is left alone


def mark_all() -> int:
    """Mark what can be marked in this process; returns how many objects were."""
    mark = _MARKS.get(sys.version_info[:2])
    if mark is None or not _is_as_expected(mark):
        return 0
    tracked = gc.get_objects()
    # Strings, numbers, code and tuples of them are not tracked: what refers to them is.
    left = list({id(thing): thing for thing in [*tracked, *gc.get_referents(*tracked)]}.values())
    done: set[int] = set()
    while left:
        thing = left.pop()
        kind = type(thing)
        if id(thing) not in done and (kind in _LEAVES or _owns_nothing(thing)):
            done.add(id(thing))
            _set(thing, mark)
            if kind is types.CodeType:
                left += _parts(thing)
            elif kind is tuple:
                left += thing
    return len(done)


def _owns_nothing(thing: Any, depth: int = _DEEPEST) -> bool:
    """Whether nothing is kept from being released by keeping `thing`, as far as an app could notice."""
    kind = type(thing)
    if kind in _LEAVES or issubclass(kind, type):
        return True
    if kind is tuple:
        return depth > 0 and all(_owns_nothing(item, depth - 1) for item in thing)
    return kind is types.BuiltinFunctionType and type(thing.__self__) is types.ModuleType


def _parts(code: types.CodeType) -> tuple[Any, ...]:
    names = (code.co_names, code.co_name, code.co_qualname, code.co_filename)
    return (*names, code.co_linetable, code.co_exceptiontable, code.co_consts, *code.co_consts)


def _set(thing: Any, mark: int) -> None:
    _count_at()(id(thing)).value = mark


@functools.cache
def _count_at() -> Any:
    import ctypes  # not at the top: only templates need it

    return ctypes.c_uint32.from_address


def _is_as_expected(mark: int) -> bool:
    """Whether this interpreter counts where it should, and stops to count when marked."""
    import ctypes

    if (
        sys.implementation.name != "cpython"
        or sys.byteorder != "little"
        or ctypes.sizeof(ctypes.c_ssize_t) != 8
        or sysconfig.get_config_var("Py_GIL_DISABLED")
        or sysconfig.get_config_var("Py_DEBUG")
        or hasattr(sys, "getobjects")
    ):
        return False

    def probe() -> None: ...

    def count() -> int:
        return int(ctypes.c_ssize_t.from_address(id(probe)).value)

    one = count()
    held = [probe] * 1000
    if count() != one + 1000 or sys.getrefcount(probe) != one + 1001:
        return False
    del held
    _set(probe, mark)
    held = [probe] * 1000
    kept = count() == mark
    del held
    return kept and count() == mark
