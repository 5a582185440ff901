"""What a window keeps, and what it makes again."""

from __future__ import annotations

import threading
import time

import pytest

from stereodiff_blender.engine.imaging.frame_window import FrameWindow, frames_around
from stereodiff_blender.engine.parallel import Cores


class Made:
    """Makes the square of a number, and notes of which."""

    def __init__(self, capacity: int):
        self.window: FrameWindow[int, int] = FrameWindow(capacity)
        self.numbers: list[int] = []

    def get(self, number: int) -> int:
        return self.window.get(number, lambda: self._square(number))

    def _square(self, number: int) -> int:
        self.numbers.append(number)
        return number * number


def test_what_is_kept_is_made_once():
    made = Made(2)
    assert [made.get(k) for k in (3, 3, 4, 3, 4)] == [9, 9, 16, 9, 16]
    assert made.numbers == [3, 4]


def test_the_least_recently_used_is_let_go():
    made = Made(2)
    for number in (1, 2, 1, 3):
        made.get(number)
    assert 1 in made.window and 2 not in made.window and 3 in made.window
    assert made.get(2) == 4 and made.numbers == [1, 2, 3, 2]


def test_the_only_one_stays_until_the_next():
    made = Made(1)
    assert [made.get(k) for k in (1, 1, 2, 1)] == [1, 1, 4, 1] and made.numbers == [1, 2, 1]


def test_a_window_that_slides_over_a_clip_makes_every_frame_once():
    """As those do who ask for all frames around each: room for the window itself is enough."""
    count, reach = 20, 3
    made = Made(2 * reach + 1)
    for index in range(count):
        for k in frames_around(index, reach, count):
            made.get(k)
    assert made.numbers == list(range(count))


def test_what_is_past_is_forgotten():
    made = Made(5)
    for number in range(5):
        made.get(number)
    made.window.forget(lambda key: key < 3)
    assert [key in made.window for key in range(5)] == [False, False, False, True, True]


def test_nothing_is_kept_of_what_could_not_be_made():
    window: FrameWindow[int, int] = FrameWindow(2)
    with pytest.raises(ZeroDivisionError):
        window.get(0, lambda: 1 // 0)
    assert 0 not in window and window.get(0, lambda: 5) == 5


@pytest.mark.parametrize(("index", "expected"), [(0, [0, 1, 2]), (4, [2, 3, 4, 5, 6]), (9, [7, 8, 9])])
def test_frames_around_end_with_the_clip(index, expected):
    assert list(frames_around(index, 2, 10)) == expected


def test_there_has_to_be_room():
    with pytest.raises(ValueError, match="got 0"):
        FrameWindow(0)


def test_what_several_threads_ask_for_is_made_once():
    window: FrameWindow[int, int] = FrameWindow(3)
    makers = []

    def make() -> int:
        time.sleep(0.02)
        makers.append(threading.get_ident())
        return 5

    assert list(Cores(4).map(lambda _: window.get(1, make), range(8))) == [5] * 8
    assert len(makers) == 1


def test_what_could_not_be_made_is_tried_again():
    window: FrameWindow[int, int] = FrameWindow(3)

    def fail() -> int:
        raise MemoryError

    with pytest.raises(MemoryError):
        window.get(1, fail)
    assert 1 not in window and window.get(1, lambda: 6) == 6


def test_threads_do_not_wait_for_one_another_in_what_needs_more_of_the_same_window():
    """As a flow's start is made from a guess that is kept, too; and more is asked for than there is room for."""
    guesses: FrameWindow[int, int] = FrameWindow(2)
    sums: FrameWindow[int, int] = FrameWindow(2)

    def total(number: int) -> int:
        return sums.get(number, lambda: sum(guesses.get(k, lambda k=k: k) for k in range(number, number + 4)))

    assert list(Cores(4).map(total, range(40))) == [4 * number + 6 for number in range(40)]
