"""An earlier bench.json against this one: what got worse by more than 15 %. python bench_compare.py OLD NEW"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WORSE = 0.15
FLOORS = {"_s": 0.2, "_mb": 20.0, "_ms": 3.0}
"""By the end of a figure's name: smaller differences are noise. Other figures are not costs, and not compared."""


@dataclass(frozen=True)
class Change:
    """A cost measured twice. name: where it stands, such as "solve/runs/0/cpu_s"."""

    name: str
    old: float
    new: float

    @property
    def share(self) -> float:
        return self.new / self.old - 1.0 if self.old > 0 else 0.0

    @property
    def is_regression(self) -> bool:
        return self.share > WORSE and self.new - self.old > _floor(self.name)


def changes(old: dict, new: dict) -> list[Change]:
    """Every cost that both have."""
    before, after = dict(_costs(old)), dict(_costs(new))
    return [Change(name, before[name], after[name]) for name in sorted(before.keys() & after.keys())]


def table(found: list[Change], same_machine: bool) -> str:
    lines = [] if same_machine else ["The two were measured on different machines: the comparison says little."]
    lines += [f"{'':52} {'before':>10} {'now':>10} {'change':>8}"]
    lines += [f"{change.name[-52:]:52} {change.old:10.2f} {change.new:10.2f} {change.share:+8.0%}"
              + ("  WORSE" if change.is_regression else "") for change in found]
    count = sum(change.is_regression for change in found)
    return "\n".join([*lines, f"{count} of {len(found)} costs are worse by more than {WORSE:.0%}."])


def _costs(content, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _costs(value, f"{name}/{key}" if name else key)
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from _costs(value, f"{name}/{place}")
    elif isinstance(content, (int, float)) and not isinstance(content, bool) and _floor(name) is not None:
        yield name, float(content)


def _floor(name: str) -> float | None:
    """Stages are in seconds by the name of their group."""
    if "stages_s/" in name:
        return FLOORS["_s"]
    return next((floor for ending, floor in FLOORS.items() if name.endswith(ending)), None)


def main(old_file: Path, new_file: Path) -> int:
    """1 if anything got worse."""
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (old_file, new_file))
    found = changes(old["parts"], new["parts"])
    print(table(found, old["machine"] == new["machine"]))
    return 1 if any(change.is_regression for change in found) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
