"""The scoreboard: every word has a place of its own, and both sides see the same."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.wire import page


@given(st.integers(1, 300))
def test_a_page_has_room_for_every_slot(slots: int) -> None:
    size = page.page_bytes(slots)
    assert size % page.PAGE == 0
    assert size >= (page.W_SLOTS + page.SLOT * slots) * 8


def test_words_do_not_overlap() -> None:
    places = [
        value
        for name, value in vars(page).items()
        if name.startswith("W_") and name not in ("W_STATUS", "W_BUCKETS", "W_SLOTS")
    ]
    places += range(page.W_STATUS, page.W_STATUS + 5)
    places += range(page.W_BUCKETS, page.W_BUCKETS + len(page.BUCKETS_NS) + 1)
    assert len(set(places)) == len(places)
    assert max(places) < page.W_SLOTS
    fields = [value for name, value in vars(page).items() if name.startswith("S_")]
    assert sorted(fields) == list(range(page.SLOT))


def test_what_one_mapping_says_the_other_reads() -> None:
    slots = 3
    fd = page.make_page(slots)
    ours, theirs = page.map_words(fd), page.map_words(fd)
    os.close(fd)
    one = page.Page(theirs)
    one.claim(2, 2**63)
    one.begin(2, 17)
    one.first_byte(2)
    base = page.W_SLOTS + 2 * page.SLOT
    assert (ours[base + page.S_LOAN], ours[base + page.S_STATE]) == (2**63, page.BEGUN)
    assert (ours[page.W_BUSY], ours[page.W_LOANS]) == (1, 1)
    ours[page.W_LEAVE] = 2
    assert one.leave == 2
    for words in (ours, theirs):
        page.unmap(words)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 700), st.integers(0, 90 * 10**9)), max_size=30),
)
def test_meters_add_up(requests: list[tuple[int, int, int]]) -> None:
    """(slot, status, nanoseconds) of each request: all are counted once, however odd."""
    one = page.private_page(5)
    for slot in range(5):
        one.claim(slot, slot + 1)
    for slot, status, took in requests:
        one.begin(slot, 1)
        one.finish(slot, status, took)
    words = one.words
    count = len(requests)
    assert (words[page.W_BUSY], words[page.W_STARTED], words[page.W_DONE]) == (0, count, count)
    assert words[page.W_DURATION] == sum(took for _, _, took in requests)
    buckets = words[page.W_BUCKETS : page.W_BUCKETS + len(page.BUCKETS_NS) + 1]
    assert sum(buckets) == count
    assert buckets[0] == sum(took <= page.BUCKETS_NS[0] for _, _, took in requests)
    statuses = words[page.W_STATUS : page.W_STATUS + 5]
    assert sum(statuses) == sum(100 <= status < 600 for _, status, _ in requests)
    assert words[page.W_LOANS] == len({slot for slot, _, _ in requests})


def test_a_slot_is_counted_anew_by_each_loan() -> None:
    one = page.private_page()
    one.claim(0, 1)
    one.begin(0, 1)
    one.boundary(0, 100, 200)
    one.release(0)
    one.claim(0, 2)
    base = page.W_SLOTS
    counters = (page.S_CONSUMED, page.S_WRITTEN, page.S_REQUESTS)
    assert [one.words[base + word] for word in counters] == [0, 0, 0]
    assert one.words[base + page.S_STATE] == page.BOUNDARY
