"""Arrays of numpy come back with the memory that they share, whatever their shape."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from holder import NAME, gave_back
from snapfork.adapter import restore, snapshot
from snapfork.adapter.snapshots import file
from snapfork.adapter.snapshots.snapshot import NotCapturable

VIEWS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda base: base[2:5],
    "column": lambda base: base[:, 3],
    "transposed": lambda base: base.T,
    "flat": lambda base: base.ravel(),
    "backwards": lambda base: base[::-1, ::-2],
    "one": lambda base: base[3, 3:4].reshape(()),
    "other type": lambda base: base.view("u1"),
}


class Named(numpy.ndarray):
    """One that has attributes."""


@pytest.mark.parametrize("kind", ["f8", object], ids=["numbers", "objects"])
@pytest.mark.parametrize("view", [one for one in VIEWS if one != "other type"])
def test_a_view_and_its_base_share_memory(view: str, kind: Any, module: types.ModuleType) -> None:
    base = numpy.arange(100.0).astype(kind).reshape(10, 10).copy()
    shares(module, [base, VIEWS[view](base)], VIEWS[view])


@pytest.mark.parametrize("view", ["rows", "transposed", "other type"])
def test_a_view_that_is_met_before_its_base_shares_it(view: str, module: types.ModuleType) -> None:
    base = numpy.arange(100.0).reshape(10, 10).copy()
    shares(module, [VIEWS[view](base), base], VIEWS[view])


def shares(module: types.ModuleType, pair: list[Any], view: Callable[[Any], Any]) -> None:
    """Whether of the two, one is still a view of the other when they are back."""
    first, second = gave_back(module, pair)
    base, part = (first, second) if pair[0].shape == (10, 10) and pair[0].base is None else (second, first)
    before = part.copy()
    assert numpy.array_equal(part, view(base))
    base[3, 3] = -5
    assert numpy.array_equal(part, view(base))
    assert not numpy.array_equal(part, before)


@pytest.mark.parametrize(
    "array",
    [
        numpy.zeros((0, 3)), numpy.zeros(0), numpy.array(5), numpy.zeros(2, [("a", "i4"), ("b", "f8")]),
        numpy.asfortranarray(numpy.ones((3, 4))), numpy.array(["a", "bc"]), numpy.array(["2020"], "M8[D]"),
        numpy.broadcast_to(numpy.arange(3), (4, 3)), numpy.ma.masked_array([1, 2], [0, 1]),
        numpy.array([{"a": 1}, None], dtype=object), numpy.arange(4, dtype=">i2"), numpy.zeros(0, object),
        numpy.array(["a", "longer than what fits in place"], numpy.dtypes.StringDType()),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)  # fmt: skip
def test_any_array_comes_back_through_a_file(array: Any, module: types.ModuleType, tmp_path: Path) -> None:
    module.STATE["array"] = array
    snapshot(module.app).write(tmp_path / "a.snap")
    app = restore(tmp_path / "a.snap")
    back = app.__globals__["STATE"]["array"]
    assert type(back) is type(array) and back.dtype == array.dtype and back.shape == array.shape
    assert str(back) == str(array)
    assert back.flags.writeable == array.flags.writeable


def test_a_part_of_a_table_that_stays_behind_does_not_take_it_along(module: types.ModuleType) -> None:
    table = numpy.zeros((1000, 1000))
    module.STATE["part"] = [table[:, 3], table[5]]
    captured = snapshot(module.app).captured
    assert sum(memoryview(one).nbytes for one in captured.buffers) < 40_000


def test_small_arrays_have_a_page_together(module: types.ModuleType, tmp_path: Path) -> None:
    module.STATE["many"] = [numpy.arange(number) for number in range(1, 101)]
    snapshot(module.app).write(tmp_path / "a.snap")
    assert file.read(tmp_path / "a.snap").header.buffers == 1
    back = restore(tmp_path / "a.snap").__globals__["STATE"]["many"]
    assert [one.tolist() for one in back] == [list(range(number)) for number in range(1, 101)]


def test_attributes_of_an_array_of_the_users_class(module: types.ModuleType) -> None:
    base = numpy.arange(3)
    named: Any = base.view(Named)
    named.unit = "m"
    back, its_base = gave_back(module, [named, base])
    assert (type(back), back.unit, back.tolist()) == (Named, "m", [0, 1, 2])
    its_base[0] = 9
    assert back[0] == 9


def test_a_mapped_file_is_mapped_again(module: types.ModuleType, tmp_path: Path) -> None:
    numpy.arange(1000.0).tofile(tmp_path / "numbers")
    mapped = numpy.memmap(tmp_path / "numbers", "f8", "r", shape=(100, 10))
    whole, part, every_other = gave_back(module, [mapped, mapped[20:], mapped[:, ::2]])
    assert isinstance(whole, numpy.memmap) and whole.mode == "r" and whole.shape == (100, 10)
    assert part.shape == (80, 10) and part[0, 0] == 200 and every_other[1, 1] == 12
    assert whole.filename == str(tmp_path / "numbers")


def test_a_file_that_is_mapped_for_writing_is_named(module: types.ModuleType, tmp_path: Path) -> None:
    module.STATE["map"] = numpy.memmap(tmp_path / "numbers", "f8", "w+", shape=10)
    with pytest.raises(NotCapturable) as caught:
        snapshot(module.app)
    assert [one.path for one in caught.value.problems] == [f'{NAME}.STATE["map"]']


def test_a_memory_view_is_of_what_it_was_of(module: types.ModuleType) -> None:
    held = bytearray(b"abcd")
    data, view, part, numbers = gave_back(
        module, [held, memoryview(held), memoryview(held)[1:3], memoryview(bytes(8)).cast("i")]
    )
    view[0] = 90
    part[0] = 91
    assert (data[0], part.tolist(), numbers.format, numbers.readonly) == (90, [91, 99], "i", True)


def test_limits_of_floats_come_back(module: types.ModuleType) -> None:
    """pickle cannot make them; numpy keeps those that were asked for."""
    assert gave_back(module, numpy.finfo("f4")) == numpy.finfo("f4")


def test_what_numpy_keeps_for_itself_stays_there(module: types.ModuleType) -> None:
    numpy.finfo(numpy.float64)
    captured = snapshot(module.app).captured
    assert b"finfo" not in captured.stream
    assert gave_back(module, numpy.arange(3.0)).tolist() == [0, 1, 2]
