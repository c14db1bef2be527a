"""Thread numbers of BLAS and OpenMP libraries that a template was held to one thread of.

A team of OpenMP threads made before a fork makes the child hang; so user code runs with one thread in the
template, and at its end the user's number is set with the libraries' own functions.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
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


def restore(saved: Mapping[str, str | None]) -> list[str]:
    """Give each such library loaded now the user's number, in the template; returns a sentence for each.

    `saved` holds the user's values of the variables; unset or not a number means all cores. The children
    inherit the number and make their threads when they first need them.
    """
    said: list[str] = []
    for path in _mapped_libraries():
        for pattern, functions, variables in _LIBRARIES:
            number = _number(saved, variables)
            if number > 1 and pattern.match(os.path.basename(path)):
                setter = _setter(path, functions)
                if setter is not None:
                    setter(number)
                    said.append(f"{os.path.basename(path)} may use {number} threads in each instance.")
    if said:
        _shed_threads()
    return said


def _shed_threads() -> None:
    # OpenBLAS makes its threads as soon as it is told the number, and they spin. Its fork handler ends them
    # in the parent for good, and a child makes its own on first use: so fork once, for nothing.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


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
