"""Thread numbers of BLAS and OpenMP libraries that a template was held to one thread of.

A team of threads made before a fork makes a child hang; so templates start with one thread, and each child
sets the user's number with the libraries' own functions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

# File name, functions that set the number (the first present wins), variables that held the user's number.
_LIBRARIES = (
    (
        re.compile(r"lib(scipy_)?openblas"),
        ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads64_",
         "openblas_set_num_threads"),
        ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"),
    ),
    (re.compile(r"libmkl_rt"), ("MKL_Set_Num_Threads",), ("MKL_NUM_THREADS", "OMP_NUM_THREADS")),
    (re.compile(r"lib(gomp|omp|iomp5)\b"), ("omp_set_num_threads",), ("OMP_NUM_THREADS",)),
)  # fmt: skip


def limiters(saved: Mapping[str, str | None]) -> list[tuple[str, int, Callable[[], object]]]:
    """For each such library loaded now: its file name, the user's number and the call that sets it.

    `saved` holds the user's values of the variables; unset or not a number means all cores.
    """
    found: list[tuple[str, int, Callable[[], object]]] = []
    for path in _mapped_libraries():
        for pattern, functions, variables in _LIBRARIES:
            if pattern.match(os.path.basename(path)):
                number = _number(saved, variables)
                setter = _setter(path, functions)
                if setter is not None and number > 1:
                    found.append((os.path.basename(path), number, _call(setter, number)))
    return found


def _mapped_libraries() -> list[str]:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in file if ".so" in line}
    return sorted(paths)


def _number(saved: Mapping[str, str | None], variables: tuple[str, ...]) -> int:
    for variable in variables:
        value = (saved.get(variable) or "").split(",")[0].strip()
        if value.isdigit() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0))


def _setter(path: str, functions: tuple[str, ...]) -> Any:
    import ctypes  # only where such a library is loaded; numpy has imported it already

    library = ctypes.CDLL(path)
    for name in functions:
        function = getattr(library, name, None)
        if function is not None:
            function.argtypes, function.restype = [ctypes.c_int], None
            return function
    return None


def _call(function: Any, number: int) -> Callable[[], object]:
    return lambda: function(number)
