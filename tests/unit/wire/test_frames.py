"""What is packed is unpacked the same: the messages between gateway, templates and instances."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.gateway.connection import MAX_PREFIX
from snapfork.runner.wire import frames
from snapfork.runner.wire.fds import MAX_MESSAGE

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
START = st.sampled_from([frames.WARM, frames.SPARE, frames.FORK, frames.SPAWN])
ADDRESSES, PREFIX = st.binary(max_size=80), st.binary(max_size=300)
LOANS = st.builds(
    frames.LoanFrame, START, st.booleans(), U16, U32, U64, U64, ADDRESSES, PREFIX, st.booleans(), PREFIX
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(LOANS)
def test_loans(loan: frames.LoanFrame) -> None:
    data = frames.pack_loan(loan)
    assert data[0] == frames.LOAN
    assert frames.unpack_loan(memoryview(data)) == loan


@given(
    st.builds(
        frames.ReturnFrame,
        st.sampled_from([frames.KEEP, frames.END, frames.RETRY]),
        st.booleans(), U32, U64, U64, U64, st.binary(max_size=300),
    )
)  # fmt: skip
def test_returns(back: frames.ReturnFrame) -> None:
    data = frames.pack_return(back)
    assert data[0] == frames.RETURN
    assert frames.unpack_return(memoryview(data)) == back


@given(START, st.booleans(), U32, U32, U32, U64, st.none() | LOANS)
def test_starts_carry_the_first_loan_whole(
    start: int, trial: bool, slots: int, number: int, generation: int, t0: int, loan: frames.LoanFrame | None
) -> None:
    packed = frames.pack_loan(loan) if loan else b""
    order = frames.StartFrame(start, trial, slots, number, generation, t0, packed)
    data = frames.pack_start(order)
    assert data[0] == frames.START
    back = frames.unpack_start(memoryview(data))
    assert back == order
    assert not loan or frames.unpack_loan(memoryview(back.loan)) == loan


@given(U32, U64, st.integers(-(2**31), 2**31 - 1), U32, U32, U64)
def test_lives(pid: int, number: int, status: int, user: int, system: int, size: int) -> None:
    died = frames.DiedFrame(pid, number, status, user, system, size)
    assert frames.unpack_died(memoryview(frames.pack_died(died))) == died
    forked = frames.ForkedFrame(pid, number)
    assert frames.unpack_forked(memoryview(frames.pack_forked(forked))) == forked
    assert frames.unpack_ready(memoryview(frames.pack_ready(pid))) == pid


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_rare_messages(message: dict[str, object]) -> None:
    data = frames.pack_json(message)
    assert data[0] == frames.JSON
    assert frames.unpack_json(memoryview(data)) == message


@given(
    st.none() | st.tuples(st.ip_addresses().map(str), U16),
    st.tuples(st.ip_addresses().map(str) | st.just("/run/app.sock"), st.none() | U16),
)
def test_addresses(client: tuple[str, int] | None, server: tuple[str, int | None]) -> None:
    assert frames.unpack_addresses(frames.pack_addresses(client, server)) == (client, server)


def test_the_largest_first_loan_fits_one_message() -> None:
    """A head and small body as large as the gateway takes them, in the order that forks for them."""
    addresses = frames.pack_addresses(("ffff:" * 7 + "ffff", 65535), ("/" * 107, None))
    loan = frames.LoanFrame(frames.FORK, True, 1, 1, 1, 1, addresses, b"x" * MAX_PREFIX)
    order = frames.StartFrame(frames.FORK, False, 1, 1, 1, 1, frames.pack_loan(loan))
    assert len(frames.pack_start(order)) <= MAX_MESSAGE


def test_kinds_can_be_told_apart() -> None:
    kinds = [frames.LOAN, frames.RETURN, frames.RECALL, frames.BYE, frames.READY]
    kinds += [frames.START, frames.FORKED, frames.DIED, frames.JSON]
    assert len(set(kinds)) == len(kinds)
