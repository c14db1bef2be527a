"""Arrays of numpy with the memory that they share: a view and its base share it again when they are back.

An array travels as a place in memory, and how it is laid over it. Memory that several arrays lie on goes into
the file once; what is smaller than a page is put together, because each buffer of a file begins a page.
"""

from __future__ import annotations

import bisect
import os
import sys
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import Any

from snapfork.adapter.snapshots import rebuild
from snapfork.adapter.snapshots.errors import Refused

Slice = tuple[int, int, int]
"""Number of a buffer of the file, offset in it, length."""
_SMALL = 4096
_ALIGNED = 64
_MOST_BETWEEN = 2
"""A column of a large table is copied, unless that travels anyway."""


class Memory:
    """The ranges of memory that arrays lie on; those that overlap become one.

    laid: how many bytes they are. The arrays are kept, for an address means something only while they live.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._places: dict[int, tuple[int, int]] = {}
        self._kept: list[Any] = []
        self._objects: set[int] = set()
        self.laid = 0

    def reduce(self, array: Any) -> Any:
        """What `__reduce__` of an array would return."""
        self._kept.append(array)
        if type(array) is not sys.modules["numpy"].ndarray:
            plain = array.view(sys.modules["numpy"].ndarray)
            return (rebuild.make_array_of, (type(array), plain), vars(array), None, None, rebuild.fill_dict)
        if array.dtype.hasobject:
            return self._of_objects(array)
        if not array.nbytes:
            return array.__reduce__()
        low, high = _bounds(array)
        if high - low > _MOST_BETWEEN * array.nbytes and not self._covers(low, high):
            return (rebuild.same, (array.copy(),))
        self._add(low, high)
        buffer = PickleBuffer(_bytes(low, high, array))
        self._kept.append(buffer)
        self._places[id(buffer)] = (low, high)
        offset = _address(array) - low
        how = (array.dtype, array.shape, array.strides, offset, array.flags.writeable)
        return (rebuild.make_array, (buffer, *how))

    def _of_objects(self, array: Any) -> Any:
        base = array.base
        whole = type(base) is type(array) and base.dtype == array.dtype and base.flags.c_contiguous
        if whole and (id(base) in self._objects or base.size <= _MOST_BETWEEN * array.size):
            offset = (_address(array) - _address(base)) // base.itemsize
            how = (offset, array.shape, array.strides, array.flags.writeable)
            return (rebuild.make_object_view, (base, *how))
        self._objects.add(id(array))
        return array.__reduce__()

    def _covers(self, low: int, high: int) -> bool:
        at = bisect.bisect_right(self._starts, low) - 1
        return at >= 0 and high <= self._ends[at]

    def _add(self, low: int, high: int) -> None:
        first = bisect.bisect_right(self._ends, low)
        last = bisect.bisect_left(self._starts, high)
        if first < last:
            low, high = min(low, self._starts[first]), max(high, self._ends[last - 1])
        before = sum(self._ends[first:last]) - sum(self._starts[first:last])
        self._starts[first:last], self._ends[first:last] = [low], [high]
        self.laid += high - low - before

    def buffers(self, pickled: Sequence[PickleBuffer]) -> tuple[list[Any], list[Slice]]:
        """What goes into the file, and where in it is what each pickled buffer is of."""
        made: list[Any] = []
        small = bytearray()
        where: list[tuple[int, int]] = []  # of each range: number and offset; -1 for `small`'s
        for low, high in zip(self._starts, self._ends, strict=True):
            data = _bytes(low, high, self._kept)
            if high - low < _SMALL:
                small += bytes(-len(small) % _ALIGNED)
                where.append((-1, len(small)))
                small += data.tobytes()
            else:
                where.append((len(made), 0))
                made.append(data)
        ranges = [(len(made), place[1]) if place[0] < 0 else place for place in where]
        if small:
            made.append(small)
        slices = []
        for buffer in pickled:
            if id(buffer) not in self._places:  # of a user's own class
                slices.append((len(made), 0, buffer.raw().nbytes))
                made.append(buffer)
                continue
            low, high = self._places[id(buffer)]
            at = bisect.bisect_right(self._starts, low) - 1
            number, offset = ranges[at]
            slices.append((number, offset + low - self._starts[at], high - low))
        return made, slices


def is_array(kind: Any) -> bool:
    """Whether objects of `kind` are arrays that leave it to numpy how they are pickled."""
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    return array is not None and issubclass(kind, array) and kind.__reduce__ is array.__reduce__


def of_file(array: Any) -> Any:
    """A numpy.memmap: mapped again. Raises Refused if what is written to it would go to its file."""
    if array.mode == "c" or not isinstance(array.filename, (str, os.PathLike)):
        return (rebuild.same, (array.view(sys.modules["numpy"].ndarray),))
    if array.mode != "r":
        raise Refused("what is written to it goes to a file")
    if not array.flags.c_contiguous:
        return (rebuild.same, (array.view(sys.modules["numpy"].ndarray),))
    whole = array
    while type(whole.base) is type(array):
        whole = whole.base
    offset = whole.offset + _address(array) - _address(whole)
    return (rebuild.make_map, (os.path.abspath(array.filename), array.dtype, offset, array.shape))


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _bounds(array: Any) -> tuple[int, int]:
    """The addresses between which the elements are."""
    low = high = _address(array)
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += (length - 1) * stride
        else:
            high += (length - 1) * stride
    return low, high + array.itemsize


class _Range:
    """Memory as numpy takes it from others; `owner` keeps it alive."""

    def __init__(self, low: int, high: int, owner: Any) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "data": (low, True),
            "shape": (high - low,),
            "typestr": "|u1",
            "version": 3,
        }


def _bytes(low: int, high: int, owner: Any) -> Any:
    return sys.modules["numpy"].asarray(_Range(low, high, owner))
