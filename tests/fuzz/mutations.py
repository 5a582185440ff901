"""Damage to files: by bytes, and for JSON and TOML by structure. Everything comes from a seeded random.Random."""

from __future__ import annotations

import json
import random

STRANGE = (None, True, -1, 0, 1e308, -1e308, 10**400, 2**63, "", "..", "../../escape", "/etc/passwd", "C:\\x", "a\0b",
           "x" * 100_000, [], {}, [[[[[]]]]], {"a": {"b": {}}}, float("nan"), float("inf"), "\ud800".encode(
               "utf-8", "surrogatepass").decode("latin-1"))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One to four mutations of the bytes."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice((_flip, _cut, _insert, _repeat, _splice, _huge_number))(result, rng)
    return bytes(result)


def damaged_json(data: bytes, rng: random.Random) -> bytes:
    """The structure changed, or in one case of four the bytes."""
    if rng.random() < 0.25:
        return damaged(data, rng)
    content = json.loads(data)
    for _ in range(rng.randint(1, 3)):
        content = _changed(content, rng)
    text = json.dumps(content)
    if rng.random() < 0.05:
        text = "[" * 5000 + text
    if rng.random() < 0.05:
        text = text.replace("{", '{"schema_version": 7, ', 1)  # twice
    return text.encode("utf-8", "surrogatepass")


def _changed(content, rng: random.Random):
    """One place of the tree lost, doubled or replaced."""
    if isinstance(content, dict) and content and rng.random() < 0.9:
        key = rng.choice(sorted(content))
        action = rng.random()
        if action < 0.2:
            return {name: value for name, value in content.items() if name != key}
        if action < 0.3:
            return content | {rng.choice(("../x", "", key + "x")): content[key]}
        return content | {key: _changed(content[key], rng)}
    if isinstance(content, list) and content and rng.random() < 0.9:
        place = rng.randrange(len(content))
        if rng.random() < 0.2:
            return content[:place] + content[place + 1:]
        return content[:place] + [_changed(content[place], rng)] + content[place + 1:]
    return rng.choice(STRANGE)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(min(len(data), rng.choice((1, 1, 4, 32)))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    if rng.random() < 0.5:
        del data[rng.randrange(len(data) + 1):]
    elif data:
        begin = rng.randrange(len(data))
        del data[begin:begin + rng.randint(1, 64)]


def _insert(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.choice((b"\0", b"\xff", b"\n", rng.randbytes(4))) * rng.choice((1, 7, 300))


def _repeat(data: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(data) + 1)
    data[begin:begin] = data[begin:begin + rng.randint(1, 200)]


def _splice(data: bytearray, rng: random.Random) -> None:
    if len(data) > 16:
        a, b, length = rng.randrange(len(data)), rng.randrange(len(data)), rng.randint(1, 64)
        data[a:a + length] = data[b:b + length]


def _huge_number(data: bytearray, rng: random.Random) -> None:
    """Sizes in headers are four or eight bytes, of either order, most often near the beginning."""
    if len(data) > 16:
        place = rng.randrange(min(len(data) - 8, 400))
        data[place:place + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0"))
