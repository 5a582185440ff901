"""JSON of any size, read in turns with Blender's own thread. Standard library only.

Python's reader keeps every other thread waiting until it is through with all it was given, and reads some 50 MB a
second. So a large object is given to it member by member, and what is a list there, item by item.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator

from .turns import taking_turns

SMALL = 32_000
"""Characters that are read at once; a millisecond."""
MAX_MEMBER, MAX_ITEM = 2_000_000, 64_000
"""Characters of one member that is no list, and of one item of a list: larger ones are refused."""
MAX_ITEMS = 200_000
_FIRST_PIECE, _GROWTH = 2000, 8
"""Characters that are tried first, and how many times as many are then: most items are small."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def read_json(text: str):
    """What json.loads gives, of an object. Raises ValueError."""
    if len(text) <= SMALL:
        return json.loads(text)
    reader = _Reader(text)
    reader.expect("{")
    return dict(taking_turns(reader.members()))


class _Reader:
    """A place in a text."""

    def __init__(self, text: str):
        self._text = text
        self._at = _behind_space(text, 0)

    def expect(self, sign: str) -> None:
        """Go on behind a sign and the space after it. Raises ValueError where another stands."""
        if not self.sees(sign):
            raise ValueError(f"{sign!r} is missing at character {self._at}")
        self._at = _behind_space(self._text, self._at + 1)

    def sees(self, sign: str) -> bool:
        return self._text.startswith(sign, self._at)

    def members(self) -> Iterator[tuple[str, object]]:
        """Of an object whose brace was taken, to the end of the text."""
        for _ in self._separated("}"):
            name = self._value(MAX_ITEM)
            if not isinstance(name, str):
                raise ValueError("a name is missing")
            self.expect(":")
            yield name, self._list() if self.sees("[") else self._value(MAX_MEMBER)
        if self._at != len(self._text):
            raise ValueError(f"something follows at character {self._at}")

    def _list(self) -> list:
        self.expect("[")
        items = [self._value(MAX_ITEM) for _ in taking_turns(itertools.islice(self._separated("]"), MAX_ITEMS + 1))]
        if len(items) > MAX_ITEMS:
            raise ValueError(f"a list has more than {MAX_ITEMS} items")
        return items

    def _separated(self, end: str) -> Iterator[None]:
        """Once before each of the values between which commas stand, up to the end's sign."""
        is_first = True
        while not (is_first and self.sees(end)):
            yield
            is_first = False
            if self.sees(end):
                break
            self.expect(",")
        self.expect(end)

    def _value(self, most: int):
        """Raises ValueError for a larger one, too: it ends in the middle then."""
        size = min(_FIRST_PIECE, most)
        while True:
            piece = self._text[self._at:self._at + size]
            is_last = size == most or self._at + size >= len(self._text)
            try:
                value, length = _DECODER.raw_decode(piece)
            except ValueError:
                if is_last:
                    raise
            else:
                if is_last or length < len(piece):  # a number that ends where the piece does may be cut
                    self._at = _behind_space(self._text, self._at + length)
                    return value
            size = min(size * _GROWTH, most)


def _behind_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None  # no space matches, too
    return space.end()
